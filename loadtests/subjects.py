"""Variants opened in this process: the application, started, with a link to follow and a way to check its counts."""

from __future__ import annotations

import asyncio
import importlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from app.main import Application, compose
from app.settings import load_settings
from astra_core.telemetry import Logs
from loadtests.driving import call
from loadtests.lifespan import lifespan
from loadtests.reference import LOCATION, PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.asgi import ASGIApp
    from loadtests.variants import Variant

__all__ = ["Subject", "opened"]

_SETTLE_TIMEOUT = 30.0
_SETTLE_POLL = 0.02


@dataclass(slots=True)
class Subject:
    """A started application and the path of one redirect. `driven` are the GETs of it that were answered."""

    variant: Variant
    app: ASGIApp
    path: str
    driven: int = 0
    _settling: float = 0.0
    _counted_from: int = 0

    def restart(self) -> None:
        """Forget the cost of counting so far."""
        self._settling, self._counted_from = 0.0, self.driven

    @property
    def background(self) -> float:
        """Seconds of processor time a request that the process took after the answers, until all was counted."""
        return self._settling / (self.driven - self._counted_from)

    async def check(self) -> None:
        """Follow the link once and compare the answer; raises `AssertionError` when it is not the redirect wanted."""
        answer = await call(self.app, "GET", self.path)
        self.driven += 1
        found = (answer.status, answer.headers.get("location"))
        if found != (302, LOCATION):
            raise AssertionError(f"{self.variant.name}: {self.path} answered {found}")

    async def settle(self) -> None:
        """Wait until every visit is counted and every span exported: no work of a block falls into the next one's time.

        Raises `AssertionError` when more are counted than were made, or fewer after half a minute.
        """
        if not self.variant.shortener:
            return
        began, deadline = time.process_time(), time.monotonic() + _SETTLE_TIMEOUT
        while (visits := await self._visits()) < self.driven and time.monotonic() < deadline:  # noqa: ASYNC110 - as a client
            await asyncio.sleep(_SETTLE_POLL)
        if isinstance(self.app, Application) and (tracing := self.app.telemetry.tracing) is not None:
            await asyncio.to_thread(tracing.queue.force_flush, int(_SETTLE_TIMEOUT * 1000))
        self._settling += time.process_time() - began
        if visits != self.driven:
            raise AssertionError(f"{self.variant.name}: {self.driven} visits were answered and {visits} counted")

    async def _visits(self) -> int:
        answer = await call(self.app, "GET", f"/v1/links{self.path}")
        return cast("int", answer.json()["visits"])


@asynccontextmanager
async def opened(variant: Variant, folder: Path) -> AsyncIterator[Subject]:
    """Start `variant` with its data in `folder`, its link made and in the cache."""
    if not variant.shortener:
        module, _, name = variant.target.partition(":")
        yield Subject(variant, getattr(importlib.import_module(module), name), PATH)
        return
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    with (folder / "log").open("w") as output:
        logs = Logs(level="info", stream=output)
        logs.install()
        try:
            async with _started(variant, folder, logs) as subject:
                yield subject
        finally:
            logs.uninstall()


@asynccontextmanager
async def _started(variant: Variant, folder: Path, logs: Logs) -> AsyncIterator[Subject]:
    app = compose(load_settings(variant.environ(folder)), logs=logs)
    async with lifespan(app):
        made = await call(app, "POST", "/v1/links", {"url": LOCATION})
        if made.status != 201:
            raise AssertionError(f"{variant.name}: the link was not made: {made.status} {made.body!r}")
        yield Subject(variant, app, f"/{made.json()['code']}")
