"""Links as records: which equals are found, and what takes room in an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from app.codes.scheme import SCHEME, Codes
from app.domain import BaseState, Link
from app.links import LINKS, LinkRepository
from astra_core.storage import Insert, MemoryStore

if TYPE_CHECKING:
    from astra_core.storage import Write

LINK = Link(code="one", url="https://example.org/", created_at=1, updated_at=1)


def inserted(write: Write) -> Insert:
    """The insert that a creation begins with."""
    assert isinstance(write, Insert)
    return write


async def test_a_link_that_only_shares_the_number_is_no_equal() -> None:
    """The index is ordered by half a digest; what two links share by chance there does not make them equal."""
    store = MemoryStore(collections=(LINKS,))
    await store.open()
    links = LinkRepository(store)
    one = inserted(links.creation(LINK)[0])
    other = inserted(links.creation(replace(LINK, code="other", url="https://example.org/other"))[0])
    twin = links.creation(replace(LINK, code="twin", created_at=2, updated_at=2))
    clash = Insert(collection=LINKS.name, key="other", value=other.value, entries=one.entries, text=other.text)
    await store.commit([one, clash, *twin])
    assert [found.link.code for found in await links.equal_to(LINK, limit=10)] == ["twin", "one"]


async def test_only_states_that_few_links_are_in_have_an_index() -> None:
    """An active link has no entry by state; a disabled one has, and is found by it."""
    store = MemoryStore(collections=(LINKS,))
    await store.open()
    links = LinkRepository(store)
    await store.commit(links.creation(LINK))
    off = replace(LINK, code="off", base=BaseState.DISABLED)
    await store.commit(links.creation(off))
    assert "base" not in inserted(links.creation(LINK)[0]).entries
    page = await links.page(base=BaseState.DISABLED, tag=None, contains="", after=None, limit=10)
    assert [found.link.code for found in page.links] == ["off"]


async def test_links_are_kept_by_sort_keys_and_named_by_codes() -> None:
    """Records stand in the order of their numbers; pages, and where the next one begins, know codes alone."""
    store = MemoryStore(collections=(LINKS,))
    await store.open()
    codes = Codes(SCHEME, bytes(32))
    links = LinkRepository(store, keys=codes)
    made = [codes.code(number) for number in range(0, 640, 64)]
    for code in (*made, "custom"):
        await store.commit(links.creation(replace(LINK, code=code)))
    assert [(stored := await links.get(code)) and stored.link.code for code in (*made, "custom")] == [*made, "custom"]
    assert await links.get("#00000000000") is None
    seen, after = list[str](), None
    while True:
        page = await links.page(base=None, tag=None, contains="", after=after, limit=3)
        seen += [found.link.code for found in page.links]
        after = page.next
        if after is None:
            break
        assert after[-1] == seen[-1]
    assert seen == ["custom", *reversed(made)]
    await store.commit(links.replacement(replace(LINK, code=made[0], title="t"), version=1))
    changed = await links.get(made[0])
    assert changed is not None
    assert (changed.link.title, changed.version) == ("t", 2)
