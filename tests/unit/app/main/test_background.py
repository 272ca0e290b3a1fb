"""What runs beside the requests: nothing of it ends without a word."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from app.main import compose
from app.main.background import Background
from app.main.embedding import ImportService
from app.settings import Clicks, Imports, Metrics, Settings, Store
from astra_core.config import as_loaded
from astra_core.errors import Overloaded, StorageError
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Faulty:
    """Does what is asked of it wrong, each time otherwise, and counts."""

    def __init__(self, *errors: Exception) -> None:
        self.asked = 0
        self._errors = errors

    async def _fail(self) -> int:
        self.asked += 1
        raise self._errors[(self.asked - 1) % len(self._errors)]

    tidy = purge = _fail


async def test_a_task_that_an_exception_ends_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """With its name and where the exception comes from; the others run on, and their end in order is no line."""
    background = Background()

    async def fall() -> None:
        raise KeyError("lost")

    other = background.spawn(asyncio.sleep(3_600))
    await asyncio.wait((background.spawn(fall()),))
    await background.close(timeout=1.0)
    assert other.cancelled()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().endswith("fall has ended, which it should not")
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_imports_are_tidied_whatever_went_wrong_before(caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away and a full queue are a line, what nobody expects a traceback; the next round comes."""
    clock = FakeClock()
    imports: Any = Faulty(StorageError("away"), Overloaded("the queue", limit=1), KeyError("lost"))
    task = asyncio.create_task(ImportService(imports, clock=clock).tidy())
    await clock.run_for(3 * 60.0)
    assert imports.asked == 4
    assert [bool(record.exc_info) for record in caplog.records] == [False, False, True, False]
    task.cancel()
    await asyncio.wait((task,))


async def test_keys_are_purged_whatever_went_wrong_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away is no line, what nobody expects a traceback; the next round comes."""
    clock = FakeClock()
    given = Settings(
        store=Store(url="memory:"),
        clicks=Clicks(journal=str(tmp_path / "journal")),
        imports=Imports(folder=str(tmp_path / "imports")),
        metrics=Metrics(folder=str(tmp_path / "metrics")),
    )
    app = compose(as_loaded(given), clock=clock)
    keys: Any = Faulty(StorageError("away"), KeyError("lost"))
    app._keys = keys
    await app.open()
    try:
        for _ in range(30):
            await clock.run_for(1.0)
        assert keys.asked == 3
        assert [record.getMessage() for record in caplog.records if record.exc_info] == [
            "removing expired idempotency keys"
        ]
    finally:
        await app.close()
