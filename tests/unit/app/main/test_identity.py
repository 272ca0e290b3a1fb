"""Who a store is: made once, the same for all who ask, and another one for another store."""

from __future__ import annotations

import asyncio

import pytest

from app.codes import SYSTEM
from app.main.identity import settle_identity
from astra_core.errors import StorageError
from astra_core.storage import MemoryStore
from astra_core.storage.writes import Insert


async def opened() -> MemoryStore:
    """A store of nobody yet."""
    store = MemoryStore(collections=[SYSTEM])
    await store.open()
    return store


async def test_the_first_caller_makes_it_and_all_others_read_it() -> None:
    """Callers that race get the one of the insert that won; another store has another."""
    store = await opened()
    first = await asyncio.gather(*(settle_identity(store) for _ in range(5)))
    assert {*first, await settle_identity(store)} == {first[0]}
    assert len(bytes.fromhex(first[0])) == 16
    assert await settle_identity(await opened()) != first[0]


async def test_it_is_of_the_randomness_given() -> None:
    """It names folders: hexadecimal digits, whatever the bytes are."""
    assert await settle_identity(await opened(), randomness=lambda size: b"/" * size) == "2f" * 16


@pytest.mark.parametrize("value", [b"{", b'{"id": "Li4v"}'])
async def test_one_that_cannot_be_read_is_refused(value: bytes) -> None:
    """No second one is made: the files of the first would be nobody's."""
    store = await opened()
    await store.commit([Insert(collection=SYSTEM.name, key="identity", value=value)])
    with pytest.raises(StorageError, match="identity"):
        await settle_identity(store)
