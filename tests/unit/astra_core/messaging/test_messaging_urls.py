"""From URLs to engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astra_core.clock import SystemClock
from astra_core.errors import MessagingError
from astra_core.keyed import BlockingPool
from astra_core.messaging import MemoryMessaging, MessagingEngine, Retain, SqliteMessaging, messaging_from_url
from astra_core.sqlite import Limits

if TYPE_CHECKING:
    from pathlib import Path


def named(url: str) -> MessagingEngine:
    """The engine of a URL."""
    pool = BlockingPool("unused", threads=1, queue=1)
    return messaging_from_url(url, retain=Retain(), writer=pool, readers=pool, limits=Limits(), clock=SystemClock())


def test_each_scheme_names_its_engine(tmp_path: Path) -> None:
    """And building it touches nothing."""
    assert isinstance(named("memory:"), MemoryMessaging)
    sqlite = named(f"sqlite:{tmp_path}/deep/messages.db")
    assert isinstance(sqlite, SqliteMessaging)
    assert sqlite.database.path == tmp_path / "deep" / "messages.db"
    assert list(tmp_path.iterdir()) == []


def test_a_scheme_without_an_engine_is_refused() -> None:
    """The sentence names the scheme, not the URL, which may hold a password."""
    with pytest.raises(MessagingError, match=r"begins with amqp:$"):
        named("amqp://user:secret@host")
