"""From a folder and variables to settings: which files are read, in which order, for which environment."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from astra_core.config.reader import FORMATS
from astra_core.config.resolve import Loaded, resolve
from astra_core.config.schema import Section
from astra_core.config.sources import EnvironmentVariables, File, SecretFiles, Source
from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["DEFAULT_ENVIRONMENT", "DEFAULT_FOLDER", "folders_of", "load"]

DEFAULT_FOLDER: Final = Path("settings")
DEFAULT_ENVIRONMENT: Final = "development"
SECRETS: Final = ".secrets"
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
    others: Collection[str] = (),
    above: Sequence[Source] = (),
    checks: bool = True,
) -> Loaded[T]:
    """Read, check and freeze the settings of one environment; pure but for reading, so a reload is another call.

    Layers, the later one winning: the schema's defaults, `default.yaml`, `<environment>.yaml`, `.secrets.yaml` (each
    may be `.json` or `.toml` instead), the files in the folder that `PREFIX_SECRETS` names, one a key, then `environ`'s
    `PREFIX_SECTION__KEY` variables, then `above`, such as a watched coordination service.

    `folder` is the argument, else `PREFIX_SETTINGS`, else `settings` in the working directory; only that last one may
    be missing. `environment` is the argument, else `PREFIX_ENV`, else `development`. Without a folder its name must be
    in `environments`, unless that is empty; with one, it needs its file, unless nobody chose it. Variables in `ignore`
    are not keys, and files named in `others` are not settings. ConfigError names every problem at once; without
    `checks`, those between keys are left out.
    """
    chosen = environment or environ.get(f"{prefix}_ENV") or ""
    given = folder or (Path(text) if (text := environ.get(f"{prefix}_SETTINGS")) else None)
    name = chosen or DEFAULT_ENVIRONMENT
    present = _present(given or DEFAULT_FOLDER, needed=given is not None)
    if present is None:
        if environments and name not in environments:
            why = f"no folder {str(DEFAULT_FOLDER)!r} to look it up in"
            raise ConfigError([_unknown(name, environments, why)])
        files = []
    else:
        files = _files(given or DEFAULT_FOLDER, present - set(others), name, chosen=bool(chosen))
    secrets = environ.get(f"{prefix}_SECRETS")
    mounted = [SecretFiles(folder=Path(secrets))] if secrets else []
    reserved = {f"{prefix}_ENV", f"{prefix}_SETTINGS", f"{prefix}_SECRETS", *ignore}
    variables = EnvironmentVariables(environ=environ, prefix=prefix, reserved=reserved)
    return resolve(schema, [*files, *mounted, variables, *above], environment=name, checks=checks)


def folders_of(*, environ: Mapping[str, str], folder: Path | None = None, prefix: str = "ASTRA") -> tuple[Path, ...]:
    """Return the folders that `load` reads, of the same arguments, whether they are there or not."""
    chosen = folder or Path(environ.get(f"{prefix}_SETTINGS") or DEFAULT_FOLDER)
    secrets = environ.get(f"{prefix}_SECRETS")
    return (chosen, Path(secrets)) if secrets else (chosen,)


def _present(folder: Path, *, needed: bool) -> set[str] | None:
    """Return the names in `folder`, None when it is not there and need not be."""
    if needed and not folder.is_dir():
        raise ConfigError([f"settings folder {str(folder)!r}: is not there; correct its path, or leave it out"])
    try:
        return {path.name for path in folder.iterdir()} if folder.is_dir() else None
    except OSError as error:
        raise ConfigError([f"settings folder {str(folder)!r}: cannot be read: {error.strerror}"]) from error


def _files(folder: Path, present: Collection[str], name: str, *, chosen: bool) -> list[Source]:
    stems: dict[str, list[str]] = {}
    for file in sorted(present):
        stem, dot, end = file.rpartition(".")
        if dot + end in FORMATS:
            stems.setdefault(stem, []).append(file)
    names = {stem for stem in stems if not stem.startswith(".")} - {"default"}
    if (chosen and name not in names) or _NAME.fullmatch(name) is None:
        raise ConfigError([_unknown(name, names, f"there is no file for it in {str(folder)!r}")])
    wanted = [stem for stem in ("default", name, SECRETS) if stem in stems]
    twice = [stems[stem] for stem in wanted if len(stems[stem]) > 1]
    if twice:
        raise ConfigError([f"{folder}: {' and '.join(files)} stand for the same; keep one of them" for files in twice])
    return [File(path=folder / stems[stem][0], masked=stem == SECRETS) for stem in wanted]


def _unknown(name: str, names: Collection[str], why: str) -> str:
    near = difflib.get_close_matches(name.lower(), sorted(names), n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(names)) or 'none'}"
    return f"environment {name[:60]!r}: {why}; {remedy}"
