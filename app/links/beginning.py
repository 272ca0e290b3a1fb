"""The first entry of a link's history: read from the record, and told to whoever wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.domain import ANONYMOUS, LIFE, first_state
from astra_core.storage.writes import Publish
from astra_core.workflow import BEGIN, Entry, Notice

if TYPE_CHECKING:
    from app.domain import Link

__all__ = ["announcement", "beginning_of"]

_encode = msgspec.json.Encoder().encode


def beginning_of(link: Link) -> Entry:
    """Return the first entry of a history: that the link was made."""
    return Entry(
        id=f"{link.code}@{link.created_at}", event=BEGIN, at=link.created_at, target=first_state(link), by=ANONYMOUS
    )


def announcement(link: Link, topic: str) -> Publish:
    """Return the message that a link was made, as a runner would leave it for a record at version 1."""
    notice = Notice(workflow=LIFE.name, key=link.code, version=1, entry=beginning_of(link))
    return Publish(topic=topic, key=link.code, data=_encode(notice), id=f"{LIFE.name}:{link.code}:1:0")
