"""What an older version has stored is read, followed and changed as ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from app.domain import Disable, Enable, Link, LinkState, Restore, recorded_state
from app.links import LINKS, OlderLinks
from app.links.repository import DUE
from astra_core.storage import Collection, Insert
from astra_core.workflow import Sweeper
from tests.contract.lives.living import CODE, CODES, COLLECTIONS, KINDS, NOW, RULES, living, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from astra_core.storage import StoreEngine

MADE = NOW * 1_000_000
OLD_LINKS = Collection(name=LINKS.name, indexes=tuple(index for index in LINKS.indexes if index.name != DUE))
EVERY: dict[str, Any] = {"base": None, "tag": None, "contains": "", "after": None, "limit": 10}
PLAIN = b'{"code":"Abc0xyZ","url":"https://example.com/","created_at":%d,"updated_at":%d' % (MADE, MADE)


async def put(store: StoreEngine, rest: bytes = b"") -> None:
    """Store a record as it was written before histories were kept."""
    value = PLAIN + rest + b"}"
    await store.commit(
        [Insert(collection=LINKS.name, key=CODES.sort_key(CODE), value=value, entries={"newest": ((MADE,),)})]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rest", "state"),
    [
        (b"", LinkState.ACTIVE),
        (b',"starts_at":%d' % (MADE + 5_000_000), LinkState.SCHEDULED),
        (b',"base":"disabled"', LinkState.DISABLED),
        (b',"base":"deleted"', LinkState.DELETED),
    ],
)
async def test_an_older_record_begins_where_it_is_known_to_stand(
    kind: str, tmp_path: Path, rest: bytes, state: LinkState
) -> None:
    """Its history is one entry, at its creation, and what happens from now on follows it."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await put(store, rest)
        (only,) = await link.history()
        assert (only.event, only.at, only.after) == ("made", MADE, state)
        assert await link.runner.replay(CODE) is state
        if state in {LinkState.DISABLED, LinkState.DELETED}:
            event = Enable() if state is LinkState.DISABLED else Restore()
            assert (await link.manager.move(CODE, event)).version == 2
        else:
            assert (await link.manager.move(CODE, Disable())).version == 2
        first, _ = await link.history()
        assert first == only
        assert await link.runner.replay(CODE) is recorded_state((await link.stored()).link)


@pytest.mark.parametrize("kind", KINDS)
async def test_versions_go_on_from_those_that_callers_know(kind: str, tmp_path: Path) -> None:
    """An ETag of before is good, and the next change is the next version."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await put(store)
        for version in (2, 3):
            replaced = link.links.replacement((await link.stored()).link, version=version - 1)
            await store.commit(replaced)
        changed = await link.manager.patch(CODE, {"title": "t"}, rules=RULES, versions={3})
        assert changed.version == (await link.stored()).edition == 4


async def test_a_file_without_due_times_is_opened(tmp_path: Path) -> None:
    """The index is added; a link with an expiry is in it from its next change on, and expires in time before that."""
    others = tuple(collection for collection in COLLECTIONS if collection is not LINKS)
    async with open_store("sqlite", tmp_path, (OLD_LINKS, *others)) as store:
        await put(store, b',"expires_at":%d' % (MADE + 5_000_000))
    async with open_store("sqlite", tmp_path) as store, living(store) as link:
        overdue = link.runner.keeper.overdue(link.now + 10**9, limit=5)
        assert (await store.find(overdue)).records == ()
        await link.manager.patch(CODE, {"title": "t"}, rules=RULES, versions=None)
        assert [record.key for record in (await store.find(overdue)).records] == [CODES.sort_key(CODE)]
        link.clock.step(5)
        assert await link.shown() is LinkState.EXPIRED


@pytest.mark.parametrize("kind", KINDS)
async def test_older_links_are_entered_once_and_then_started_and_expired(kind: str, tmp_path: Path) -> None:
    """Those that time will move come into the index, at the version that callers know, and no cache drops anything."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await put(store, b',"starts_at":%d,"expires_at":%d' % (MADE + 5_000_000, MADE + 9_000_000))
        await store.commit(
            [
                Insert(
                    collection=LINKS.name,
                    key=f"plain{number:03}",
                    value=PLAIN.replace(b'"Abc0xyZ"', b'"plain%03d"' % number) + b"}",
                    entries={"newest": ((MADE,),)},
                )
                for number in range(250)
            ]
        )
        older = OlderLinks(store, link.links, clock=link.clock)
        entering = asyncio.create_task(older.run())
        while not entering.done():
            link.clock.advance(1)
            await asyncio.sleep(0.001)
        again = OlderLinks(store, link.links, clock=link.clock)
        await again.run()
        assert (older.entered, again.entered) == (1, 0)
        assert (await link.stored()).edition == 1
        assert await store.tip("links") == 0
        link.clock.step(10_000)
        sweeper = Sweeper(link.runner, store, clock=link.clock)
        assert [await sweeper.round() for _ in range(2)] == [1, 0]
        assert [entry.event for entry in await link.history()] == ["made", "started", "expired"]
        assert (await link.manager.patch(CODE, {"title": "t"}, rules=RULES, versions={1})).version == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_an_older_link_that_is_changed_meanwhile_is_left_alone(kind: str, tmp_path: Path) -> None:
    """The change has entered it; those beside it are entered all the same."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await put(store, b',"expires_at":%d' % (MADE + 5_000_000))
        other = Link(
            code="other", url="https://example.com/", created_at=MADE, updated_at=MADE, expires_at=MADE + 5_000_000
        )
        await store.commit(link.links.creation(other))
        older = OlderLinks(store, link.links, clock=link.clock)
        (stale,) = [one for one in (await link.links.page(**EVERY)).links if one.link.code == CODE]
        await link.manager.patch(CODE, {"title": "t"}, rules=RULES, versions=None)
        fresh = await link.links.get("other")
        assert fresh is not None
        await older._enter([stale, fresh])
        assert older.entered == 1
        assert (await link.stored()).link.title == "t"


async def test_an_older_version_reads_what_is_written_now(tmp_path: Path) -> None:
    """It skips what it does not know: members and values that it does are as they were."""

    class OlderLink(msgspec.Struct):
        code: str
        url: str
        created_at: int
        updated_at: int
        title: str | None = None
        base: str = "active"

    async with open_store("memory", tmp_path) as store, living(store) as link:
        await link.make(title="t")
        await link.manager.move(CODE, Disable())
        record = await store.get(LINKS.name, CODES.sort_key(CODE))
        assert record is not None
        older = msgspec.json.decode(record.value, type=OlderLink)
        assert (older.code, older.title, older.base) == (CODE, "t", "disabled")


async def test_a_creation_stores_what_it_always_did(tmp_path: Path) -> None:
    """One record and one change, no history; a link without times is in no index of due times."""
    async with open_store("memory", tmp_path) as store, living(store) as link:
        made = await link.make()
        writes = link.links.creation(made)
        assert [type(write).__name__ for write in writes] == ["Insert", "Change"]
        insert = writes[0]
        assert isinstance(insert, Insert)
        assert b"course" not in insert.value
        assert DUE not in insert.entries
        assert await store.events("link", CODE) == ()
