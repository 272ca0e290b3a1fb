"""The folders of stores in those that services share: a lasting one's stays, a passing one's goes with its process."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pytest

from app.main.folders import StoreFolders
from tests.unit.app.main.test_identity import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from astra_core.storage import MemoryStore


async def at_once(call: Callable[[], Any]) -> Any:
    """Stand where a thread calls what blocks."""
    return call()


class Services:
    """Processes over the same two folders."""

    def __init__(self, folder: Path) -> None:
        self.shared = (folder / "journal", folder / "imports")
        self._open: list[StoreFolders] = []

    async def start(self, store: MemoryStore | None = None, *, lasting: bool = True) -> StoreFolders:
        """Start one on a store, on a new one where none is given; it leaves a file in each of its folders."""
        folders = StoreFolders(self.shared, lasting=lasting, run=at_once)
        await folders.open(store or await opened())
        self._open.append(folders)
        for shared in self.shared:
            (shared / folders.name).mkdir(parents=True, exist_ok=True)
            (shared / folders.name / "file").touch()
        return folders

    def names(self) -> list[set[str]]:
        """The stores that have a folder, in each of the two."""
        return [{path.name for path in shared.iterdir()} for shared in self.shared]


def kill(folders: StoreFolders) -> None:
    """Let go of its locks, as the end of a process does, and of nothing else."""
    for _, fd in folders._held:
        os.close(fd)
    folders._held.clear()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Return folders with nobody in them."""
    services = Services(tmp_path)
    yield services
    for folders in services._open:
        kill(folders)


async def test_processes_of_a_store_share_a_folder_that_outlives_them(services: Services) -> None:
    """It is of the store's identity, and what lies in it stays when the last of them has closed."""
    store = await opened()
    first, second = await services.start(store), await services.start(store)
    other = await services.start()
    assert first.name == second.name != other.name
    for folders in (first, second, other):
        await folders.close()
    assert services.names() == [{first.name, other.name}] * 2
    assert (services.shared[0] / first.name / "file").exists()


async def test_what_a_store_in_memory_leaves_goes(services: Services) -> None:
    """With its process when that ends in order, else with the next process of any store; that of a live one stays."""
    closed, live = await services.start(lasting=False), await services.start(lasting=False)
    killed = await services.start(lasting=False)
    assert services.names() == [{closed.name, live.name, killed.name}] * 2
    await closed.close()
    kill(killed)
    lasting = await services.start()
    assert services.names() == [{live.name, lasting.name}] * 2
    kill(live)
    heir = await services.start(lasting=False)
    assert services.names() == [{heir.name, lasting.name}] * 2


async def test_a_folder_that_another_store_uses_is_told_of_once(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line for all folders, and not where the other has no file, nor of what is no store's."""
    caplog.set_level(logging.INFO)
    for shared in services.shared:
        (shared / ("ab" * 16)).mkdir(parents=True)
        (shared / "old.seg").touch()
    first = await services.start()
    assert caplog.messages == []
    await services.start(lasting=False)
    (line,) = caplog.messages
    assert all(str(shared) in line for shared in services.shared)
    assert first.name not in line


async def test_a_folder_that_cannot_be_used_does_not_keep_a_process_from_starting(tmp_path: Path) -> None:
    """Who needs it says so, if that matters."""
    (tmp_path / "file").touch()
    for lasting in (True, False):
        folders = StoreFolders([tmp_path / "file" / "journal"], lasting=lasting, run=at_once)
        await folders.open(await opened())
        await folders.close()
