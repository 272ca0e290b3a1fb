"""What the application tells of itself: metrics, traces and log lines, built of the settings and fed by events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.main.families import PRODUCT
from app.main.instruments import Instruments
from app.main.policies import log_breakers
from app.main.reloading import log_reloads
from astra_core import __version__
from astra_core.events import Listeners, SettingsReloaded, hears
from astra_core.middleware import AccessLogMiddleware, TraceScopeMiddleware, TracingMiddleware
from astra_core.telemetry import (
    LIBRARY,
    Logs,
    Metrics,
    MetricsListener,
    SpanListener,
    TraceSampler,
    Tracing,
    names,
    watch_loop,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from contextlib import AbstractContextManager

    from app.main.live import Live
    from app.settings import Log, Settings
    from app.settings import Tracing as TracingSettings
    from astra_core.asgi import ASGIApp, Scope
    from astra_core.clock import Clock
    from astra_core.config import Loaded
    from astra_core.events import Listener

__all__ = ["Telemetry", "compose_telemetry", "install_logs"]


_OWN = ("app", "astra", "astra_core")
"""The loggers that `log.level: debug` is about."""


def install_logs(settings: Log) -> Logs:
    """Take over the logging of this process: ours, and the server's."""
    logs = Logs(level=settings.level, format=settings.format, queue=settings.queue, own=_OWN)
    logs.install()
    return logs


@dataclass(kw_only=True)
class Telemetry:
    """Metrics, traces and logs, and who hears of events; `logs` is None where somebody else set logging up."""

    metrics: Metrics
    logs: Logs | None
    tracing: Tracing | None
    instruments: Instruments
    listeners: Listeners
    live: Live
    clock: Clock
    publish_interval: float

    def tracing_gate(self, app: ASGIApp) -> ASGIApp:
        """Put spans round `app`, if there is a collector for them."""
        if self.tracing is None:
            return app
        return TracingMiddleware(app, tracing=self.tracing, clock=self.clock)

    def trace_scope(self, app: ASGIApp) -> ASGIApp:
        """Have what is called from `app` hear that its request is not traced."""
        return app if self.tracing is None else TraceScopeMiddleware(app)

    @property
    def counting(self) -> Callable[[Sequence[bytes]], AbstractContextManager[object]] | None:
        """What to enter while the clicks of traced requests are counted."""
        tracing = self.tracing
        return None if tracing is None else lambda traces: tracing.linked("count clicks", traces)

    def access_log(self, app: ASGIApp, *, name: Callable[[Scope], object]) -> AccessLogMiddleware:
        """Put access lines round `app`; they follow the settings. `name` names a request that nobody named before."""
        log = self.live.settings.log
        layer = AccessLogMiddleware(
            app, ratio=log.access_ratio, slow=log.slow, per_second=log.per_second, clock=self.clock, name=name
        )
        self.live.follow(
            lambda s: (s.log.access_ratio, s.log.slow, s.log.per_second),
            lambda new: layer.configure(ratio=new[0], slow=new[1], per_second=new[2]),
        )
        self.metrics.watch(names.ACCESS_SUPPRESSED, lambda: layer.suppressed)
        return layer

    async def open(self, spawn: Callable[[Coroutine[Any, Any, None]], object], *, within: str) -> None:
        """Begin to publish, in the folder of figures that is called so `within` the settings' one."""
        if self.tracing is not None:
            await self.tracing.open()
        await self.metrics.open(within=within)
        spawn(self._publish())
        spawn(watch_loop(self.metrics.histogram(names.LOOP_LAG), clock=self.clock))

    async def close(self) -> None:
        """Publish, and write, for the last time."""
        if self.tracing is not None:
            await self.tracing.close()
        await self.metrics.close()
        if self.logs is not None:
            await self.logs.aclose()

    async def _publish(self) -> None:
        while True:
            await self.clock.sleep(self.publish_interval)
            self.metrics.publish()


def compose_telemetry(
    loaded: Loaded[Settings],
    live: Live,
    *,
    logs: Logs | None,
    run: Callable[[Callable[[], Any]], Awaitable[Any]],
    clock: Clock,
) -> Telemetry:
    """Build it; nothing is opened. `run` calls what blocks."""
    settings = loaded.settings.metrics
    metrics = Metrics(
        (*LIBRARY, *PRODUCT), clock=clock, folder=Path(settings.folder), max_series=settings.max_series, run=run
    )
    instruments = Instruments(metrics)
    instruments.process()
    instruments.config(1, loaded.checksum, loaded.environment)
    tracing = _tracing(loaded.settings.tracing, live, clock=clock)
    instruments.tracing(tracing)
    environment = loaded.environment

    @hears(SettingsReloaded)
    def show_reload(event: object) -> None:
        assert isinstance(event, SettingsReloaded)  # noqa: S101 - it hears of no other
        instruments.config(event.version, event.new_checksum, environment)

    listeners: list[Listener] = [log_breakers, log_reloads, show_reload, MetricsListener(metrics)]
    if tracing is not None:
        listeners.append(SpanListener(tracing))
    telemetry = Telemetry(
        metrics=metrics,
        logs=logs,
        tracing=tracing,
        instruments=instruments,
        listeners=Listeners(*listeners),
        live=live,
        clock=clock,
        publish_interval=settings.publish_interval,
    )
    live.attribute(telemetry, "publish_interval", lambda s: s.metrics.publish_interval)
    if logs is not None:
        instruments.logs(logs)
        live.follow(lambda s: (s.log.level, s.log.format), lambda new: logs.configure(level=new[0], format=new[1]))
    return telemetry


def _tracing(settings: TracingSettings, live: Live, *, clock: Clock) -> Tracing | None:
    """Build tracing, if there is a collector."""
    if settings.endpoint is None:
        return None
    sampler = TraceSampler(ratio=settings.ratio, per_second=settings.per_second, clock=clock)
    live.follow(
        lambda s: (s.tracing.ratio, s.tracing.per_second),
        lambda new: sampler.configure(ratio=new[0], per_second=new[1]),
    )
    return Tracing(
        endpoint=settings.endpoint,
        sampler=sampler,
        service=settings.service,
        version=__version__,
        headers=None if settings.headers is None else settings.headers.reveal(),
        ca_file=settings.ca_file,
        queue=settings.queue,
        timeout=settings.timeout,
    )
