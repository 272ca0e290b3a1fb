"""When settings are read again: real folders, real changes, and a source that comes and goes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.config import FolderWatch, fingerprint, follow_source
from astra_core.errors import StorageError
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from astra_core.config import Layer

PATIENCE = 20.0


async def run(call: Callable[[], Any]) -> Any:
    """Call here: the files are small."""
    return call()


class Counted:
    """Counts what a watch tells."""

    def __init__(self, watch: FolderWatch) -> None:
        self.changes = 0
        self._told = asyncio.Event()
        self._watch = watch
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        async with aclosing(self._watch.changes()) as changes:
            async for _ in changes:
                self.changes += 1
                self._told.set()

    async def next(self) -> None:
        """Wait for one."""
        async with asyncio.timeout(PATIENCE):
            await self._told.wait()
        self._told.clear()

    async def end(self) -> None:
        """Stop watching."""
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[Callable[..., Counted]]:
    """Watch a folder `settings`; a poll so rare that only the operating system can have told."""
    (tmp_path / "settings").mkdir()
    begun: list[Counted] = []

    def begin(*names: str, poll_interval: float = 3_600.0) -> Counted:
        folders = [tmp_path / name for name in names or ("settings",)]
        begun.append(Counted(FolderWatch(folders, seen=fingerprint(folders), poll_interval=poll_interval, run=run)))
        return begun[-1]

    yield begin
    for counted in begun:
        await counted.end()


async def settled() -> None:
    """Give the operating system's watch time to stand."""
    await asyncio.sleep(0.3)


async def test_a_file_that_is_written_or_replaced_is_told(tmp_path: Path, watching: Callable[..., Counted]) -> None:
    """In place, and by renaming another one over it, as editors do."""
    file = tmp_path / "settings" / "default.yaml"
    counted = watching()
    await settled()
    file.write_text("a: 1")
    await counted.next()
    other = file.with_suffix(".tmp")
    other.write_text("a: 2")
    other.rename(file)
    await counted.next()
    file.unlink()
    await counted.next()


async def test_a_mounted_configmap_that_changes_is_told(tmp_path: Path, watching: Callable[..., Counted]) -> None:
    """Its files are links through `..data`, and only that link is renamed; no file of a known name is touched."""
    folder = tmp_path / "settings"
    for version in ("one", "two"):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}" / "default.yaml").write_text(f"a: {version}")
    (folder / "..data").symlink_to("..one")
    (folder / "default.yaml").symlink_to("..data/default.yaml")
    counted = watching()
    await settled()
    (folder / "..data_tmp").symlink_to("..two")
    (folder / "..data_tmp").rename(folder / "..data")
    await counted.next()


async def test_what_leaves_the_content_alone_is_not_told(tmp_path: Path, watching: Callable[..., Counted]) -> None:
    """A file that is touched, or written with what it held, is no change; the next real one is told at once."""
    file = tmp_path / "settings" / "default.yaml"
    file.write_text("a: 1")
    counted = watching()
    await settled()
    file.touch()
    file.write_text("a: 1")
    await settled()
    assert counted.changes == 0
    file.write_text("a: 2")
    await counted.next()
    assert counted.changes == 1


async def test_what_changed_before_the_watch_began_is_told(tmp_path: Path) -> None:
    """Between the making of the watch, which comes before the settings are read, and its first look."""
    (tmp_path / "default.yaml").write_text("a: 1")
    watch = FolderWatch([tmp_path], seen=fingerprint([tmp_path]), poll_interval=3_600.0, run=run)
    (tmp_path / "default.yaml").write_text("a: 2")
    counted = Counted(watch)
    await counted.next()
    await counted.end()


async def test_a_look_that_fails_is_told_and_does_not_end_the_watch(tmp_path: Path) -> None:
    """Whatever it raised; the next look that succeeds is a change, for nobody knows what happened meanwhile."""
    failures: list[Exception] = [TimeoutError(), RuntimeError("no thread")]

    async def fail_first(call: Callable[[], Any]) -> Any:
        if failures:
            raise failures[0]
        return call()

    watch = FolderWatch([tmp_path], seen=fingerprint([tmp_path]), poll_interval=0.02, run=fail_first)
    told: list[Exception | None] = []
    async with asyncio.timeout(PATIENCE), aclosing(watch.changes()) as changes:
        async for trouble in changes:
            told.append(trouble)
            if trouble is None:
                break
            failures.pop(0)
    assert [type(each) for each in told] == [TimeoutError, RuntimeError, type(None)]


async def test_without_a_folder_it_is_polled_for(tmp_path: Path, watching: Callable[..., Counted]) -> None:
    """One that appears later is found, and from then on watched."""
    counted = watching("later", poll_interval=0.05)
    await settled()
    (tmp_path / "later").mkdir()
    await counted.next()
    (tmp_path / "later" / "default.yaml").write_text("a: 1")
    await counted.next()


async def test_a_folder_that_is_replaced_by_another_is_seen(tmp_path: Path, watching: Callable[..., Counted]) -> None:
    """The name is what counts: after a swap of the link, changes in the new folder are told."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "default.yaml").write_text(f"a: {name}")
    (tmp_path / "link").symlink_to("one")
    counted = watching("link", poll_interval=0.1)
    await settled()
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "link")
    await counted.next()
    await settled()
    (tmp_path / "two" / "default.yaml").write_text("a: 3")
    await counted.next()


def test_a_fingerprint_tells_names_contents_and_what_cannot_be_read(tmp_path: Path) -> None:
    """Each of these folders has another one; the same folder has the same."""
    seen = {fingerprint([tmp_path / "none"]), fingerprint([tmp_path])}
    (tmp_path / "a").write_text("1")
    seen.add(fingerprint([tmp_path]))
    assert fingerprint([tmp_path]) in seen
    (tmp_path / "a").rename(tmp_path / "b")
    seen.add(fingerprint([tmp_path]))
    (tmp_path / "b").write_text("2")
    seen.add(fingerprint([tmp_path]))
    assert len(seen) == 5


class Service:
    """A coordination service as a source: it changes, breaks and comes back when the test says so."""

    def __init__(self) -> None:
        self.happenings: asyncio.Queue[Exception | None] = asyncio.Queue()

    def read(self) -> Layer:
        """Not asked here."""
        raise NotImplementedError

    async def changed(self) -> None:
        """Wait for what happens next."""
        if (error := await self.happenings.get()) is not None:
            raise error


async def test_a_watched_source_reloads_with_each_change_and_outlives_its_breaks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While it is away it is asked again after pauses that grow, told of once; then changes are heard again."""
    service, clock, reloads = Service(), FakeClock(), 0

    async def reload() -> None:
        nonlocal reloads
        reloads += 1

    task = asyncio.create_task(follow_source(service, reload, name="the cluster", clock=clock))
    for happening in (None, None, OSError("cut"), StorageError("still cut"), None):
        service.happenings.put_nowait(happening)
    for seconds, seen in ((0.0, 2), (0.9, 2), (0.2, 2), (1.9, 2), (0.2, 3)):
        clock.advance(seconds)
        for _ in range(10):
            await asyncio.sleep(0)
        assert reloads == seen
    assert [record.getMessage() for record in caplog.records] == [
        "settings of the cluster are not watched just now: cut"
    ]
    task.cancel()
    await asyncio.wait([task])


async def test_a_watched_source_may_break_as_it_likes(caplog: pytest.LogCaptureFixture) -> None:
    """An error that it should not have raised is told with where it comes from, and ends nothing."""
    service, clock, reloads = Service(), FakeClock(), 0

    async def reload() -> None:
        nonlocal reloads
        reloads += 1

    task = asyncio.create_task(follow_source(service, reload, name="the cluster", clock=clock))
    for happening in (KeyError("session"), None):
        service.happenings.put_nowait(happening)
    await clock.run_for(1.0)
    assert reloads == 1
    assert caplog.records[0].exc_info is not None
    task.cancel()
    await asyncio.wait([task])
