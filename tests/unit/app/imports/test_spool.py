"""Files arrive whole or not at all, whatever happens while they come."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from app.imports import Format, InvalidImport, NoRoom, Spool, TooLarge, TooManyUploads, UploadBroken, UploadLate
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from astra_core.clock import Clock

T = TypeVar("T")

ROW = b'{"url": "https://a.example"}\n'


async def at_once(call: Callable[..., T], /, *args: Any) -> T:
    """Stand where a thread calls what blocks."""
    return call(*args)


def spool_in(folder: Path, *, run: Any = at_once, clock: Clock | None = None, **options: Any) -> Spool:
    """A spool with room for a few rows."""
    limits = {"largest": 10_000, "quota": 20_000, "uploads": 2, "patience": 5.0, "least_rate": 10, **options}
    return Spool(folder, **limits, run=run, clock=clock or FakeClock())


def sender(*chunks: bytes | None) -> Callable[[], Awaitable[bytes | None]]:
    """A sender of these chunks, then of the end."""
    left = [*chunks, b""]

    async def read() -> bytes | None:
        return left.pop(0)

    return read


def waiting(gate: asyncio.Event, *chunks: bytes) -> Callable[[], Awaitable[bytes | None]]:
    """A sender that sends nothing before `gate` is open."""
    read = sender(*chunks)

    async def read_later() -> bytes | None:
        await gate.wait()
        return await read()

    return read_later


async def test_a_file_is_kept_under_its_name_once_it_is_whole(tmp_path: Path) -> None:
    """The bytes are those sent, and nobody sees half of them."""
    spool = spool_in(tmp_path / "a" / "b")
    seen: list[list[str]] = []

    async def read() -> bytes:
        seen.append(sorted(path.name for path in spool.folder.iterdir()))
        return ROW if len(seen) < 4 else b""

    assert await spool.receive("k", read, kind=Format.NDJSON, declared=None) == 3 * len(ROW)
    assert seen == [["k.part"]] * 4
    assert [path.name for path in spool.folder.iterdir()] == ["k.upload"]
    assert spool.path("k").read_bytes() == ROW * 3
    assert spool.path("k").stat().st_mode & 0o077 == 0
    assert spool.receiving == 0


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ((ROW, None), UploadBroken),
        ((ROW * 400,), TooLarge),
        ((b"",), InvalidImport),
        ((ROW * 300, b"x" * 600), NoRoom),
    ],
)
async def test_a_file_that_does_not_arrive_leaves_nothing(
    tmp_path: Path, chunks: tuple[bytes | None, ...], error: type[Exception]
) -> None:
    """The sender left, sent too much, nothing, or more than the folder may hold."""
    spool = spool_in(tmp_path, quota=9_000 if error is NoRoom else 20_000)
    with pytest.raises(error):
        await spool.receive("k", sender(*chunks), kind=Format.NDJSON, declared=None)
    assert os.listdir(tmp_path) == []
    assert spool.receiving == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("refused", ["_create", "_append", "_keep"])
async def test_a_full_disk_is_no_room(tmp_path: Path, code: int, refused: str) -> None:
    """Wherever it shows, the part is gone again and its descriptor closed."""

    async def run(call: Callable[..., Any], /, *args: Any) -> Any:
        if call.__name__ == refused:
            raise OSError(code, os.strerror(code))
        return call(*args)

    before = len(os.listdir("/proc/self/fd"))
    spool = spool_in(tmp_path, run=run)
    with pytest.raises(NoRoom):
        await spool.receive("k", sender(ROW), kind=Format.NDJSON, declared=None)
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    """As the drain of a server does."""
    spool = spool_in(tmp_path)

    async def never() -> bytes:
        await asyncio.sleep(60)
        return b""

    upload = asyncio.create_task(spool.receive("k", never, kind=Format.CSV, declared=None))
    await asyncio.sleep(0.01)
    assert spool.receiving == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert os.listdir(tmp_path) == []
    assert spool.receiving == 0


async def test_only_so_many_files_come_at_once(tmp_path: Path) -> None:
    """One more is refused before anything of it is read; one of which nothing comes gives its place back."""
    spool = spool_in(tmp_path, uploads=1, patience=0.05)
    gate = asyncio.Event()

    async def waiting() -> bytes:
        await gate.wait()
        return b""

    first = asyncio.create_task(spool.receive("a", waiting, kind=Format.CSV, declared=None))
    await asyncio.sleep(0.01)
    with pytest.raises(TooManyUploads):
        await spool.receive("b", sender(ROW), kind=Format.NDJSON, declared=None)
    with pytest.raises(UploadLate):
        await first
    await spool.receive("b", sender(ROW), kind=Format.NDJSON, declared=None)


@pytest.mark.parametrize(
    ("size", "seconds", "least_rate", "taken"),
    [
        (4, 0.5, 10, False),  # a trickle
        (4, 0.5, 0, True),
        (6, 0.5, 10, True),
        (36, 4.0, 10, False),
        (44, 4.0, 10, True),
    ],
)
async def test_a_file_comes_at_the_least_rate(
    tmp_path: Path, size: int, seconds: float, least_rate: int, taken: bool
) -> None:
    """What came at once at first buys no place for one that trickles afterwards, over six patiences."""
    clock = FakeClock()
    left = [ROW * 100, *[b" " * size] * 200, b""]

    async def read() -> bytes:
        chunk = left.pop(0)
        clock.advance(seconds if len(chunk) == size else 0.0)
        return chunk

    spool = spool_in(tmp_path, least_rate=least_rate, largest=15_000, clock=clock)
    receiving = spool.receive("k", read, kind=Format.NDJSON, declared=None)
    if taken:
        assert await receiving == len(ROW) * 100 + size * 200
    else:
        with pytest.raises(UploadLate):
            await receiving
        assert os.listdir(tmp_path) == []
        assert left  # long before its end
    assert spool.receiving == 0


async def test_what_our_own_disk_takes_makes_no_sender_slow(tmp_path: Path) -> None:
    """Only the time in which the sender is waited for counts."""
    clock = FakeClock()

    async def slow(call: Callable[..., T], /, *args: Any) -> T:
        clock.advance(60.0)
        return call(*args)

    spool = spool_in(tmp_path, run=slow, clock=clock)
    assert await spool.receive("k", sender(*[ROW] * 10), kind=Format.NDJSON, declared=None) == 10 * len(ROW)


async def test_what_is_declared_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    """By its own limit, and by what the folder has left."""
    spool = spool_in(tmp_path, largest=1_000, quota=1_500)
    await spool.receive("kept", sender(ROW * 30), kind=Format.NDJSON, declared=870)
    for declared, error in ((1_001, TooLarge), (900, NoRoom)):
        with pytest.raises(error):
            await spool.receive("k", sender(ROW), kind=Format.NDJSON, declared=declared)


async def test_parts_of_killed_processes_are_swept(tmp_path: Path) -> None:
    """Neither one that was made just now, nor one that its sender fills a byte a day: who receives it holds it."""
    spool = spool_in(tmp_path)
    received = asyncio.Event()
    slow = spool.receive("slow", waiting(received, ROW), kind=Format.NDJSON, declared=None)
    receiving = asyncio.create_task(slow)
    await asyncio.sleep(0.01)
    for name in ("left.part", "new.part", "whole.upload"):
        (tmp_path / name).write_bytes(b"x")
    now = (tmp_path / "new.part").stat().st_mtime
    for name in ("left.part", "slow.part", "whole.upload"):
        os.utime(tmp_path / name, (now - 90_000, now - 90_000))
    await spool.sweep(now)
    assert sorted(os.listdir(tmp_path)) == ["new.part", "slow.part", "whole.upload"]
    received.set()
    assert await receiving == len(ROW)
    assert await spool.kept(before=now - 80_000) == ["whole"]


async def test_a_file_that_said_how_large_it_is_has_its_room_from_the_start(tmp_path: Path) -> None:
    """What would not fit beside it is refused at once, by another process too."""
    gate = asyncio.Event()
    one, two = spool_in(tmp_path, quota=1_500), spool_in(tmp_path, quota=1_500)
    first = asyncio.create_task(one.receive("a", waiting(gate, ROW * 30), kind=Format.NDJSON, declared=870))
    await asyncio.sleep(0.01)
    with pytest.raises(NoRoom):
        await two.receive("b", sender(ROW * 30), kind=Format.NDJSON, declared=870)
    gate.set()
    assert await first == one.path("a").stat().st_size == 870


async def test_files_that_grow_at_once_share_the_room(tmp_path: Path) -> None:
    """The one that comes to what another has already is refused."""
    gate = asyncio.Event()
    one, two = spool_in(tmp_path, quota=1_500), spool_in(tmp_path, quota=1_500)
    first = asyncio.create_task(one.receive("a", waiting(gate, ROW * 30), kind=Format.NDJSON, declared=None))
    await asyncio.sleep(0.01)
    assert await two.receive("b", sender(ROW * 30), kind=Format.NDJSON, declared=None) == 870
    gate.set()
    with pytest.raises(NoRoom):
        await first
    assert os.listdir(tmp_path) == ["b.upload"]


async def test_less_than_was_declared_is_not_the_file(tmp_path: Path) -> None:
    """Whatever the server in front made of it."""
    spool = spool_in(tmp_path)
    with pytest.raises(UploadBroken):
        await spool.receive("k", sender(ROW * 30), kind=Format.NDJSON, declared=900)
    assert os.listdir(tmp_path) == []


async def test_two_stores_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    """Neither their files nor their quotas."""
    one, two = spool_in(tmp_path, quota=1_500), spool_in(tmp_path, quota=1_500)
    one.settle("one")
    two.settle("two")
    for spool in (one, two):
        await spool.receive("k", sender(ROW * 40), kind=Format.NDJSON, declared=None)
    await one.drop("k")
    assert not one.path("k").exists()
    assert two.path("k").read_bytes() == ROW * 40


async def test_files_that_older_versions_received_are_found(tmp_path: Path) -> None:
    """They lie in the shared folder itself; read, swept and removed there."""
    older = spool_in(tmp_path)
    await older.receive("k", sender(ROW), kind=Format.NDJSON, declared=None)
    (tmp_path / "left.part").write_bytes(b"x")
    spool = spool_in(tmp_path)
    spool.settle("own")
    with spool.open("k") as file:
        assert file.read() == ROW
    await spool.drop("k")
    await spool.sweep((tmp_path / "left.part").stat().st_mtime + 90_000)
    assert os.listdir(tmp_path) == []
