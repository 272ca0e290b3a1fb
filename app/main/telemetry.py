"""What the application tells of itself: metrics, traces and log lines, built of the settings and fed by events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.main.families import PRODUCT
from app.main.instruments import Instruments
from app.main.policies import log_breakers
from app.main.reloading import log_reloads
from astra_core.events import Listeners
from astra_core.middleware import AccessLogMiddleware
from astra_core.telemetry import LIBRARY, Logs, Metrics, MetricsListener, names, watch_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from app.main.live import Live
    from app.settings import Log, Settings
    from astra_core.asgi import ASGIApp
    from astra_core.clock import Clock
    from astra_core.config import Loaded

__all__ = ["Telemetry", "compose_telemetry", "install_logs"]


def install_logs(settings: Log) -> Logs:
    """Take over the logging of this process: ours, and the server's."""
    logs = Logs(level=settings.level, format=settings.format, queue=settings.queue)
    logs.install()
    return logs


@dataclass(kw_only=True)
class Telemetry:
    """Metrics, traces and logs, and who hears of events; `logs` is None where somebody else set logging up."""

    metrics: Metrics
    logs: Logs | None
    instruments: Instruments
    listeners: Listeners
    live: Live
    clock: Clock
    publish_interval: float

    def access_log(self, app: ASGIApp) -> AccessLogMiddleware:
        """Put access lines round `app`; they follow the settings."""
        log = self.live.settings.log
        layer = AccessLogMiddleware(
            app, ratio=log.access_ratio, slow=log.slow, per_second=log.per_second, clock=self.clock
        )
        self.live.follow(
            lambda s: (s.log.access_ratio, s.log.slow, s.log.per_second),
            lambda new: layer.configure(ratio=new[0], slow=new[1], per_second=new[2]),
        )
        self.metrics.watch(names.ACCESS_SUPPRESSED, lambda: layer.suppressed)
        return layer

    async def open(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Begin to publish."""
        await self.metrics.open()
        spawn(self._publish())
        spawn(watch_loop(self.metrics.histogram(names.LOOP_LAG), clock=self.clock))

    async def close(self) -> None:
        """Publish, and write, for the last time."""
        await self.metrics.close()
        if self.logs is not None:
            await self.logs.aclose()

    async def _publish(self) -> None:
        while True:
            await self.clock.sleep(self.publish_interval)
            self.metrics.publish()


def compose_telemetry(loaded: Loaded[Settings], live: Live, *, logs: Logs | None, clock: Clock) -> Telemetry:
    """Build it; nothing is opened."""
    settings = loaded.settings.metrics
    metrics = Metrics((*LIBRARY, *PRODUCT), clock=clock, folder=Path(settings.folder), max_series=settings.max_series)
    instruments = Instruments(metrics)
    instruments.process()
    metrics.info(names.CONFIG, "1", loaded.checksum, loaded.environment)
    telemetry = Telemetry(
        metrics=metrics,
        logs=logs,
        instruments=instruments,
        listeners=Listeners(log_breakers, log_reloads, MetricsListener(metrics)),
        live=live,
        clock=clock,
        publish_interval=settings.publish_interval,
    )
    live.attribute(telemetry, "publish_interval", lambda s: s.metrics.publish_interval)
    if logs is not None:
        instruments.logs(logs)
        live.follow(lambda s: (s.log.level, s.log.format), lambda new: logs.configure(level=new[0], format=new[1]))
    return telemetry
