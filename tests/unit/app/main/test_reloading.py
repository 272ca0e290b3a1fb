"""What is read again, and when, whatever happens to the folder of the settings meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.main.background import Background
from app.main.live import Live
from app.main.reloading import Sources, compose_reloading, log_reloads
from app.settings import Reload, Settings
from astra_core.clock import SystemClock
from astra_core.config import as_loaded, fingerprint
from astra_core.events import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


async def test_a_folder_that_hangs_for_a_while_is_watched_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is a refusal told once, which is over with the first look that succeeds; later changes are seen."""
    loaded, background, hangs = as_loaded(Settings(reload=Reload(poll_interval=0.1))), Background(), True
    loads = 0

    def load() -> Any:
        nonlocal loads
        loads += 1
        return loaded

    async def run(call: Callable[[], Any]) -> Any:
        if hangs:
            raise TimeoutError("the call did not end before its deadline")
        return call()

    reloading = compose_reloading(
        loaded,
        Sources(load=load, folders=(tmp_path,), seen=fingerprint([tmp_path])),
        Live(loaded.settings),
        spawn=background.spawn,
        run=run,
        listeners=Listeners(log_reloads),
        clock=SystemClock(),
    )
    assert reloading is not None
    reloading.start()
    try:
        reloader = reloading.reloader
        await until(lambda: reloader.refused >= 3)
        told = "the settings could not be looked at: the call did not end before its deadline"
        assert reloader.problems == (told,)
        assert [told in message for message in caplog.messages] == [True]
        hangs = False
        await until(lambda: loads == 1 and reloader.problems == ())
        (tmp_path / "default.yaml").write_text("a: 1")
        await until(lambda: loads == 2)
    finally:
        reloading.stop()
        await background.close(timeout=5.0)


async def until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is the state of a folder's watch
            await asyncio.sleep(0.01)
