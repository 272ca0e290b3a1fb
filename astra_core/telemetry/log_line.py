"""One log record, taken down at once: what changes after the call does not change the line."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from astra_core.telemetry.log_context import REQUEST, RequestOf, log_context

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FIELDS", "STANDARD", "TEXT", "Line", "cut", "level_of", "line_of"]

TEXT: Final = 8192
"""Characters of a message, a value or a stack that are shown."""
FIELDS: Final = 64
"""Fields of a line, and members of a value, that are shown."""
STANDARD: Final = frozenset(("time", "level", "logger", "message", "request_id", "trace_id", "span_id", "exception"))
"""Names that no extra field can take."""

_DEPTH = 4
_NAME = 128
_TAKEN = 65_536  # characters: secrets are looked for in these, before the text is cut to TEXT
_WHOLE = 2**63
_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message", REQUEST}


@dataclasses.dataclass(slots=True)
class Line:
    """What one line says, in plain types. `time` in seconds since the epoch."""

    time: float
    level: str
    logger: str
    message: str
    request: dict[str, str]
    fields: dict[str, Any]
    exception: dict[str, str] | None = None


def level_of(number: int) -> str:
    """Return the name of a level; one between two has the name of the lower."""
    if number >= logging.CRITICAL:
        return "critical"
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"


def cut(text: str, longest: int = TEXT) -> str:
    """Return at most `longest` characters of `text`, and how many are missing."""
    return text if len(text) <= longest else f"{text[:longest]}…(+{len(text) - longest})"


def line_of(record: logging.LogRecord, time: float) -> Line:
    """Take down `record`. Never raises for what the record holds."""
    request = record.__dict__.get(REQUEST)
    if not isinstance(request, RequestOf):
        scope = log_context.get()
        request = None if scope is None else RequestOf(scope)
    return Line(
        time=time,
        level=level_of(record.levelno),
        logger=cut(_text(record.name), _NAME),
        message=_message(record),
        request={} if request is None else request.fields(),
        fields=_fields(record.__dict__),
        exception=_exception(record),
    )


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:
        message = f"{_text(record.msg)} (not formatted: {type(error).__name__})"
    return cut(message, _TAKEN)


def _fields(attributes: dict[str, Any]) -> dict[str, Any]:
    if attributes.keys() <= _ATTRIBUTES:
        return {}
    fields: dict[str, Any] = {}
    given = [(name, value) for name, value in attributes.items() if name not in _ATTRIBUTES]
    for name, value in given[:FIELDS]:
        shown = cut(_text(name), _NAME)
        while shown in STANDARD or shown in fields or (shown != name and shown in attributes):
            shown = f"extra_{shown}"
        fields[shown] = _plain(value, _DEPTH)
    if len(given) > FIELDS:
        fields["fields_left_out"] = len(given) - FIELDS
    return fields


def _plain(value: Any, depth: int) -> Any:
    """Return a copy in plain types, of bounded size."""
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return cut(value, _TAKEN)
    if kind is int:
        return value if -_WHOLE < value < _WHOLE else cut(hex(value))
    if kind is float:
        return value if value - value == 0 else str(value)  # neither infinite nor NaN: JSON has none
    if isinstance(value, bytes | bytearray):
        return cut(bytes(value[:_TAKEN]).decode("utf-8", "backslashreplace"), _TAKEN)
    try:
        members = _members(value)
        if members is None:
            return _text(value)
        if depth == 0:
            return "…"
        if isinstance(members, dict):
            return {cut(_text(name), _NAME): _plain(each, depth - 1) for name, each in members.items()}
        return [_plain(each, depth - 1) for each in members]
    except Exception as error:
        return f"<{kind.__name__}: {type(error).__name__}>"


def _members(value: Any) -> dict[Any, Any] | list[Any] | None:
    """Return the first members of a collection, None of what is none."""
    if isinstance(value, Mapping):
        return dict(_first(value.items()))
    if isinstance(value, list | tuple | AbstractSet):
        return _first(value)
    names = getattr(type(value), "__struct_fields__", None)
    if names is None and dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.repr]
    return None if names is None else {name: getattr(value, name, None) for name in names[:FIELDS]}


def _first(values: Any) -> list[Any]:
    return [each for each, _ in zip(values, range(FIELDS), strict=False)]


def _text(value: Any) -> str:
    try:
        return cut(str(value), _TAKEN)
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _exception(record: logging.LogRecord) -> dict[str, str] | None:
    given = record.exc_info
    if not isinstance(given, tuple) or given[1] is None:
        if record.stack_info:
            return {"type": "", "message": "", "stack": cut(record.stack_info, _TAKEN)}
        return None
    error: BaseException = given[1]
    return {
        "type": cut(type(error).__qualname__, _NAME),
        "message": _text(error),
        "stack": _stack(error, given[2]),
    }


def _stack(error: BaseException, at: TracebackType | None) -> str:
    try:
        return cut("".join(traceback.format_exception(type(error), error, at, limit=-50)), _TAKEN)
    except Exception as broken:
        return f"<no stack: {type(broken).__name__}>"
