"""A power cut loses no acknowledged commit: the engine's own pragmas and commits, over a disk that forgets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from typing import TYPE_CHECKING, Any, cast

import pytest

from astra_core.keyed import BlockingPool
from astra_core.storage import Add, Change, Collection, Index, Insert, SqliteStore
from tests.integration.sqlite.powercut import Adapted, ForgetfulDisk

if TYPE_CHECKING:
    from pathlib import Path

LINKS = Collection(name="links", indexes=(Index(name="made"), Index(name="tag", parts=2, multi=True)))
ROUNDS, TOGETHER = 70, 6

Cut = tuple[frozenset[str], dict[str, bytes]]


def link(number: int) -> list[Any]:
    """A commit of several writes, large enough that the WAL is moved into the database a few times."""
    key = f"k{number}"
    entries = {"made": ((number,),), "tag": (("t", number), ("u", number))}
    return [
        Insert(collection="links", key=key, value=b"v" * 12_000, entries=entries),
        Change(feed="links", key=key),
        Add(counters="all", amounts={"links": 1}),
    ]


async def cuts(path: Path, synchronous: str) -> tuple[list[Cut], list[Cut]]:
    """Commit in rounds; return, with what was acknowledged by then, cuts after each round and torn ones at syncs."""
    disk = ForgetfulDisk(f"forgetful-{synchronous}")
    chance = random.Random(7)
    acked: set[str] = set()
    clean: list[Cut] = []
    torn: list[Cut] = []

    def before_sync() -> None:
        if chance.random() < 0.25:
            torn.append((frozenset(acked), disk.torn(path, chance)))

    async def commit(store: SqliteStore, number: int) -> None:
        await store.commit(link(number))
        acked.add(f"k{number}")

    def connect(name: str, /) -> sqlite3.Connection:
        return cast("sqlite3.Connection", Adapted(name, disk, synchronous=synchronous))

    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=1, queue=4)
    async with SqliteStore(path, collections=[LINKS], writer=writer, readers=readers, connect=connect) as store:
        disk.before_sync = before_sync
        for turn in range(ROUNDS):
            await asyncio.gather(*(commit(store, turn * TOGETHER + n) for n in range(TOGETHER)))
            clean.append((frozenset(acked), disk.cut(path)))
        disk.before_sync = lambda: None
    await writer.close()
    await readers.close()
    disk.unregister()
    return clean, torn


def after(cut: Cut, folder: Path) -> tuple[set[str], bool]:
    """Start again from what the cut left: the acknowledged links that are gone, and whether the file is whole."""
    folder.mkdir()
    acked, files = cut
    for suffix, content in files.items():
        (folder / f"left.db{suffix}").write_bytes(content)
    connection = sqlite3.connect(folder / "left.db")
    with contextlib.closing(connection):
        try:
            whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            keys = {key for (key,) in connection.execute("SELECT key FROM r_links").fetchall()}
            count = (connection.execute("SELECT value FROM counters").fetchone() or (0,))[0]
            fed = {key for (key,) in connection.execute("SELECT key FROM changes").fetchall()}
        except sqlite3.Error:
            return set(acked), False
    return set(acked) - keys, whole and count == len(keys) and fed == keys


async def test_a_power_cut_loses_no_acknowledged_commit(path: Path, tmp_path: Path) -> None:
    """After every round, and in the midst of syncs with half of the unsynced sectors written, nothing is missing."""
    clean, torn = await cuts(path, "FULL")
    assert len(clean) == ROUNDS
    assert len(torn) > 10
    for number, cut in enumerate([*clean, *torn]):
        lost, whole = after(cut, tmp_path / f"cut{number}")
        assert (lost, whole) == (set(), True)


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
async def test_the_same_cuts_find_what_a_weaker_level_loses(path: Path, tmp_path: Path, synchronous: str) -> None:
    """With less than FULL acknowledged commits are gone: the test above can fail."""
    clean, _ = await cuts(path, synchronous)
    gone = [after(cut, tmp_path / f"cut{number}")[0] for number, cut in enumerate(clean)]
    assert sum(map(bool, gone)) > ROUNDS / 2
