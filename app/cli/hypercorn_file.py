"""Hypercorn's file, looked at before anything starts.

Hypercorn takes what it is given: it ignores a misspelt line, serves without TLS where only half of it is named, and
for a certificate that is not there it ends once it was asked to serve.
"""

from __future__ import annotations

import difflib
import ssl
import tomllib
from typing import TYPE_CHECKING, Any, get_type_hints

from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["asks_for_tls"]

_NUMBERS = (int, float, int | None, float | None)
_TEXTS = (str, str | None)


def asks_for_tls(file: Path) -> bool:
    """Whether `file` names a certificate. Raises `ConfigError` with everything that is wrong with it."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError([f"{file}: {error}"]) from error
    if problems := [*_wrong_options(given), *_wrong_tls(given)]:
        raise ConfigError([f"{file}: {problem}" for problem in problems])
    return "certfile" in given


def _wrong_options(given: Mapping[str, Any]) -> Iterator[str]:
    from hypercorn.config import Config  # HTTP/1.1 is served without it

    hints = get_type_hints(Config)
    known = [name for name in dir(Config) if not name.startswith("_") and not callable(getattr(Config, name))]
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name}: unknown option" + (f"; did you mean {near[0]}?" if near else "")
            continue
        kind = hints.get(name, type(getattr(Config, name)))
        if kind in _NUMBERS and (not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0):
            yield f"{name}: must be a number of 0 or more, not {value!r}"
        elif kind is bool and not isinstance(value, bool):
            yield f"{name}: must be true or false, not {value!r}"
        elif kind in _TEXTS and not isinstance(value, str):
            yield f"{name}: must be a text, not {value!r}"


def _wrong_tls(given: Mapping[str, Any]) -> Iterator[str]:
    files = {name: given[name] for name in ("certfile", "keyfile") if isinstance(given.get(name), str)}
    if len(files) == 1:
        (name,) = files
        yield f"{name}: TLS needs certfile and keyfile; name both, or neither to serve without it"
    elif files:
        try:
            for path in files.values():
                with open(path, "rb"):  # what cannot be opened is named here; below it would not be
                    pass
            password = given.get("keyfile_password", "")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files["certfile"], files["keyfile"], password=lambda: password)
        except ssl.SSLError as error:
            yield f"certfile and keyfile: are no certificate in PEM with its key ({error.reason or error})"
        except OSError as error:
            yield f"{error.filename}: cannot be read: {error.strerror}"
