"""Each event of a link leaves one message, in its commit, over every store; none where nobody wants to hear of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.domain import Delete, Disable, Restore
from app.links import REMAINING
from astra_core.storage import Take
from astra_core.workflow import Notice
from tests.contract.lives.living import CODE, KINDS, NOW, RULES, living, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.lives.living import Living

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def live(link: Living) -> None:
    """Make the link and let everything happen to it."""
    await link.make(starts_at=(NOW + 10) * 1_000_000, expires_at=(NOW + 20) * 1_000_000, max_visits=1)
    link.clock.step(15)
    await link.runner.fire(CODE)
    await link.manager.patch(CODE, {"url": "https://joe:hunter2@example.com/"}, rules=RULES, versions=None)
    await link.store.commit([Take(counters=REMAINING, key=CODE)])
    await link.runner.fire(CODE)
    await link.manager.move(CODE, Disable(), by="joe", why="spam")
    await link.manager.move(CODE, Delete())
    await link.manager.move(CODE, Restore())


async def test_the_messages_are_the_history(kind: str, tmp_path: Path) -> None:
    """In its order, under the link's code, each with an id of its own, so that a consumer knows a duplicate."""
    async with open_store(kind, tmp_path) as store, living(store, announce="links") as link:
        await live(link)
        messages = await store.messages()
        notices = [Notice.read(message.data) for message in messages]
        assert [(notice.entry.event, notice.entry.at, notice.entry.by, notice.entry.why) for notice in notices] == [
            (entry.event, entry.at, entry.by, entry.why) for entry in await link.runner.history(CODE)
        ]
        assert {(message.topic, message.key) for message in messages} == {("links", CODE)}
        assert len({message.id for message in messages}) == len(messages) == 7
        versions = [notice.version for notice in notices]
        assert versions == sorted(versions)
        assert not any(b"hunter2" in message.data for message in messages)


async def test_nothing_is_told_to_nobody(kind: str, tmp_path: Path) -> None:
    """The outbox stays empty: nothing would ever take messages out of it."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await live(link)
        assert await store.messages() == ()
        assert len(await link.history()) == 7


async def test_a_change_that_is_refused_tells_nothing(kind: str, tmp_path: Path) -> None:
    """Message and change are one commit."""
    async with open_store(kind, tmp_path) as store, living(store, announce="links") as link:
        made = await link.make()
        with pytest.raises(Exception, match="exists"):
            await store.commit(link.links.creation(made))
        assert len(await store.messages()) == 1
