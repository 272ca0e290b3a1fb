"""What the application tells of itself: metrics, traces and log lines, built of the settings and fed by events."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.main.families import PRODUCT
from app.main.instruments import Instruments
from app.main.policies import log_breakers
from app.main.reloading import log_reloads
from astra_core.events import Listeners
from astra_core.telemetry import LIBRARY, Metrics, MetricsListener, names, watch_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from app.main.live import Live
    from app.settings import Log, Settings
    from astra_core.clock import Clock
    from astra_core.config import Loaded

__all__ = ["Telemetry", "compose_telemetry", "install_logs"]


def install_logs(settings: Log) -> None:
    """Set up logging for this process."""
    logging.basicConfig(level=settings.level.upper(), format="%(levelname)s %(name)s: %(message)s")


@dataclass(kw_only=True)
class Telemetry:
    """Metrics, and who hears of events."""

    metrics: Metrics
    instruments: Instruments
    listeners: Listeners
    clock: Clock
    publish_interval: float

    async def open(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Begin to publish."""
        await self.metrics.open()
        spawn(self._publish())
        spawn(watch_loop(self.metrics.histogram(names.LOOP_LAG), clock=self.clock))

    async def close(self) -> None:
        """Publish for the last time."""
        await self.metrics.close()

    async def _publish(self) -> None:
        while True:
            await self.clock.sleep(self.publish_interval)
            self.metrics.publish()


def compose_telemetry(loaded: Loaded[Settings], live: Live, *, clock: Clock) -> Telemetry:
    """Build it; nothing is opened."""
    settings = loaded.settings.metrics
    metrics = Metrics((*LIBRARY, *PRODUCT), clock=clock, folder=Path(settings.folder), max_series=settings.max_series)
    instruments = Instruments(metrics)
    instruments.process()
    metrics.info(names.CONFIG, "1", loaded.checksum, loaded.environment)
    telemetry = Telemetry(
        metrics=metrics,
        instruments=instruments,
        listeners=Listeners(log_breakers, log_reloads, MetricsListener(metrics)),
        clock=clock,
        publish_interval=settings.publish_interval,
    )
    live.attribute(telemetry, "publish_interval", lambda s: s.metrics.publish_interval)
    return telemetry
