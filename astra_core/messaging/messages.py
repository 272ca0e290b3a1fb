"""The words of the messaging ports, and the checks that everything published passes before an engine sees it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_DATA",
    "MAX_TEXT",
    "GroupState",
    "Outgoing",
    "Received",
    "TopicState",
    "check_names",
    "check_outgoing",
    "weight",
]

MAX_DATA = 1024 * 1024
"""The most bytes of data in one message; what is larger belongs in a store, and its key in the message."""

MAX_TEXT = 512
"""The most characters of a message's key, and of its id."""

_OVERHEAD = 64
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,100}\Z")
"""What Kafka allows in the name of a topic, but shorter."""


class Outgoing(Struct, frozen=True):
    """A message to publish. Messages of one topic and key stay in order; `id` is what tells a duplicate."""

    topic: str
    key: str
    data: bytes
    id: str = ""


class Received(Struct, frozen=True):
    """A message as delivered; offsets of one topic grow in the order of delivery."""

    offset: int
    topic: str
    key: str
    data: bytes
    id: str = ""


class GroupState(Struct, frozen=True):
    """How far a group has come: all up to `position` is acknowledged, `behind` messages are not.

    `lost` counts messages that were dropped for want of room before the group had acknowledged them.
    """

    group: str
    position: int
    behind: int
    lost: int


class TopicState(Struct, frozen=True):
    """What is kept of a topic: `kept` messages of `weight` bytes, the newest at offset `last`; and who reads it."""

    topic: str
    last: int
    kept: int
    weight: int
    groups: tuple[GroupState, ...] = ()


def weight(message: Outgoing) -> int:
    """Return the bytes that a message counts for: its data, key and id, and 64 for what stands round them."""
    return len(message.data) + len(message.key.encode()) + len(message.id.encode()) + _OVERHEAD


def check_names(**names: str) -> None:
    """Raise `ValueError` unless each is 1 to 100 letters, digits, dots, underscores and hyphens."""
    for what, name in names.items():
        if not _NAME.match(name):
            raise ValueError(f"{what} {name!r} is not 1 to 100 of a-z, A-Z, 0-9, dot, underscore and hyphen")


def check_outgoing(messages: Sequence[Outgoing]) -> None:
    """Raise `ValueError` when one of `messages` cannot be published anywhere."""
    for message in messages:
        check_names(topic=message.topic)
        _check_text("key", message.key)
        _check_text("id", message.id)
        if not isinstance(message.data, bytes):
            raise ValueError(f"the data of a message for {message.topic} is not bytes")
        if len(message.data) > MAX_DATA:
            raise ValueError(f"a message for {message.topic} has {len(message.data)} bytes, more than {MAX_DATA}")


def _check_text(what: str, text: str) -> None:
    if type(text) is not str or len(text) > MAX_TEXT or "\0" in text:
        raise ValueError(f"{what} {text!r} is not text of at most {MAX_TEXT} characters without NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text!r} holds half a surrogate pair") from None
