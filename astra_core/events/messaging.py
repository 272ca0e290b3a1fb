"""Events of publishers, consumers and the logs between them. No field holds a key or an id of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GroupBehind", "MessagesTrimmed", "MessagingCalled"]


class MessagingCalled(Struct, frozen=True):
    """One try of `operation` on the engine `engine` ended after `seconds`, for good or with an `error`.

    `operation` is `publish`, `receive` or `acknowledge`. `topics` says how many messages were published or received, by
    topic; when a publish failed, how many it was to publish. `group` is "" where there is none, `error` the class name,
    "" when there was none. The seconds of a `receive` hold what it waited for news.
    """

    engine: str
    operation: str
    topics: Mapping[str, int]
    group: str
    seconds: float
    error: str


class MessagesTrimmed(Struct, frozen=True):
    """An engine dropped the `count` oldest messages of `topic`.

    `lost` says by group how many of them it had not acknowledged: messages that it will never see, for want of room.
    """

    topic: str
    count: int
    lost: Mapping[str, int]


class GroupBehind(Struct, frozen=True):
    """`messages` of `topic` were not acknowledged by `group` when somebody looked."""

    topic: str
    group: str
    messages: int
