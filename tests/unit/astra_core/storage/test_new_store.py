from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from astra_core.keyed import BlockingPool
from astra_core.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_store_that_was_not_there_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line with its whole path, when the file is made; none at the next opening."""
    path, pool = tmp_path / "folder" / "astra.db", BlockingPool("store", threads=1, queue=4)
    store = SqliteStore(path, collections=(), writer=pool, readers=pool)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            await store.open()
            await store.open()
            await store.close()
    await pool.close()
    assert caplog.messages == [f"made a new store at {path}"]
