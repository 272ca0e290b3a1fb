"""RFC 3339 outside, whole microseconds since the epoch inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

from msgspec import UnsetType

__all__ = ["from_microseconds", "to_microseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@overload
def to_microseconds(time: datetime | None) -> int | None: ...
@overload
def to_microseconds(time: datetime | UnsetType | None) -> int | UnsetType | None: ...
def to_microseconds(time: datetime | UnsetType | None) -> int | UnsetType | None:
    """Return the moment as microseconds; before 1970 it is negative, which the rules refuse."""
    if time is None or isinstance(time, UnsetType):
        return time
    return (time - _EPOCH) // _MICROSECOND


@overload
def from_microseconds(time: int) -> datetime: ...
@overload
def from_microseconds(time: int | None) -> datetime | None: ...
def from_microseconds(time: int | None) -> datetime | None:
    """Return the moment in UTC."""
    return None if time is None else _EPOCH + timedelta(0, 0, time)
