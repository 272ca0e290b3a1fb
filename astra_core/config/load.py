"""From a folder and variables to settings: which files are read, in which order, for which environment."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from astra_core.config.resolve import Loaded, resolve
from astra_core.config.schema import Section
from astra_core.config.sources import EnvironmentVariables, File, Source
from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["DEFAULT_ENVIRONMENT", "DEFAULT_FOLDER", "load"]

DEFAULT_FOLDER: Final = Path("settings")
DEFAULT_ENVIRONMENT: Final = "development"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

T = TypeVar("T", bound=Section)


def load(
    schema: type[T],
    *,
    environ: Mapping[str, str],
    folder: Path | None = None,
    environment: str | None = None,
    environments: Collection[str] = (),
    prefix: str = "ASTRA",
    ignore: Collection[str] = (),
) -> Loaded[T]:
    """Read, check and freeze the settings of one environment; pure but for reading, so a reload is another call.

    Layers, the later one winning: the schema's defaults, `default.yaml`, `<environment>.yaml`, `.secrets.yaml`,
    then `environ`'s `PREFIX_SECTION__KEY` variables. `folder` is the argument, else `PREFIX_SETTINGS`, else `settings`
    in the working directory; only that last one may be missing. `environment` is the argument, else `PREFIX_ENV`, else
    `development`. Without a folder its name must be in `environments`, unless that is empty; with one, it needs its
    file, unless nobody chose it. Variables in `ignore` are not keys. ConfigError names every problem at once.
    """
    chosen = environment or environ.get(f"{prefix}_ENV") or ""
    given = folder or (Path(text) if (text := environ.get(f"{prefix}_SETTINGS")) else None)
    name = chosen or DEFAULT_ENVIRONMENT
    files = _files(given or DEFAULT_FOLDER, name, chosen=bool(chosen), needed=given is not None, known=environments)
    reserved = {f"{prefix}_ENV", f"{prefix}_SETTINGS", *ignore}
    variables = EnvironmentVariables(environ=environ, prefix=prefix, reserved=reserved)
    return resolve(schema, [*files, variables], environment=name)


def _files(folder: Path, name: str, *, chosen: bool, needed: bool, known: Collection[str]) -> list[Source]:
    if needed and not folder.is_dir():
        raise ConfigError([f"settings folder {str(folder)!r}: is not there; correct its path, or leave it out"])
    try:
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    except OSError as error:
        raise ConfigError([f"settings folder {str(folder)!r}: cannot be read: {error.strerror}"]) from error
    if present is None:
        if known and name not in known:
            raise ConfigError([_unknown(name, known, f"no folder {str(folder)!r} to look it up in")])
        return []
    stems = {file.removesuffix(".yaml") for file in present if file.endswith(".yaml")} - {"default"}
    names = {stem for stem in stems if not stem.startswith(".")}
    if (chosen and name not in names) or _NAME.fullmatch(name) is None:
        raise ConfigError([_unknown(name, names, f"there is no file for it in {str(folder)!r}")])
    wanted = [file for file in ("default.yaml", f"{name}.yaml", ".secrets.yaml") if file in present]
    return [File(path=folder / file, masked=file == ".secrets.yaml") for file in wanted]


def _unknown(name: str, names: Collection[str], why: str) -> str:
    near = difflib.get_close_matches(name.lower(), sorted(names), n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(names)) or 'none'}"
    return f"environment {name[:60]!r}: {why}; {remedy}"
