"""Lines as JSON for machines and as aligned text for people: one line a record, which nothing in it can break."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astra_core.telemetry.log_line import cut
from astra_core.telemetry.redaction import HIDDEN

if TYPE_CHECKING:
    from astra_core.telemetry.log_line import Line
    from astra_core.telemetry.redaction import Redactor

__all__ = ["JsonFormat", "PrettyFormat"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_BARE = re.compile(r"[^\s=\"\\]+")
_encoded = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}


class JsonFormat:
    """One JSON object a line, in ASCII: every other character, and every control character, is escaped."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def encode(self, line: Line) -> str:
        """Return the line, with its line feed."""
        shown = _shown(self._redactor, line)
        return _encoded(shown).replace("\x7f", "\\u007f") + "\n"


class PrettyFormat:
    """Time, level, logger, message, then `name=value`. What could be taken for something else is quoted, as in JSON.

    A stack follows in lines of its own, each behind `    | `, which no record begins with.
    """

    def __init__(self, redactor: Redactor, *, colours: bool = False) -> None:
        self._redactor = redactor
        self._colours = colours

    def encode(self, line: Line) -> str:
        """Return the line, with its line feed."""
        shown = _shown(self._redactor, line)
        time, level, logger, message = (shown.pop(name) for name in ("time", "level", "logger", "message"))
        mark = f"{level.upper():<8}"
        if self._colours:
            mark = f"\x1b[{_COLOURS[level]}m{mark}\x1b[0m"
        plain = bool(message) and message.isprintable() and not message.startswith('"') and not _MARKS & set(message)
        exception = shown.pop("exception", None)
        parts = [time, mark, f"{_value(logger):<24}", message if plain else _quoted(message)]
        parts.extend(f"{_value(name)}={_value(value)}" for name, value in shown.items())
        stack = "" if exception is None else exception["stack"]
        below = "".join(f"{_STACK}{_visible(text)}\n" for text in stack.splitlines())
        return " ".join(parts) + "\n" + below


_MARKS = frozenset("=\\")
_STACK = "    | "


def _shown(redactor: Redactor, line: Line) -> dict[str, Any]:
    """Return what is shown of a line, in order; the fields of others cannot be named like ours."""
    clean = _clean if redactor.suspects(_all_of(line)) else _short
    shown: dict[str, Any] = {
        "time": _time(line.time),
        "level": line.level,
        "logger": clean(redactor, line.logger),
        "message": clean(redactor, line.message),
    }
    for name, value in line.request.items():
        shown[name] = clean(redactor, value)
    for name, value in line.fields.items():
        if redactor.hides(name):
            shown[_whole(name)] = HIDDEN
        elif isinstance(value, str):
            shown[_whole(name)] = clean(redactor, value)
        else:
            shown[_whole(name)] = _redacted(redactor, value)
    if line.exception is not None:
        shown["exception"] = {name: _clean(redactor, value) for name, value in line.exception.items()}
    return shown


def _all_of(line: Line) -> str:
    """Return the texts of a line as one: most lines hold nothing that looks like a secret, and one look tells."""
    texts = [value for value in line.fields.values() if isinstance(value, str)]
    return "\n".join((line.logger, line.message, *line.request.values(), *texts))


def _short(redactor: Redactor, text: str) -> str:
    return _whole(cut(text))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _redacted(redactor: Redactor, value: Any) -> Any:
    if isinstance(value, str):
        return _clean(redactor, value)
    if isinstance(value, dict):
        return {
            _whole(name): HIDDEN if redactor.hides(name) else _redacted(redactor, each) for name, each in value.items()
        }
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and redactor.hides(value[0]):
            return [_clean(redactor, value[0]), HIDDEN]
        return [_redacted(redactor, each) for each in value]
    return value


def _clean(redactor: Redactor, text: str) -> str:
    return _whole(cut(redactor.text(text)))


def _whole(text: str) -> str:
    """Return `text` without lone surrogates, which strict parsers refuse even as escapes."""
    if text.isascii():
        return text
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False, ensure_ascii=False)
    return text if text.isprintable() and _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(map(_printable, quoted))


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(char: str) -> str:
    return char if char.isprintable() else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
