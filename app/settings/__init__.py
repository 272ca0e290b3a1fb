"""Every setting of the shortener, with its default, range and meaning; `docs/settings.md` is made from this package."""

from app.settings.engines import Coordination, Messaging
from app.settings.imports import Imports
from app.settings.policies import (
    Breaker,
    Bulkhead,
    EngineBreaker,
    EngineSafeguards,
    Protection,
    Retry,
    Safeguards,
)
from app.settings.reload import Reload
from app.settings.sections import (
    ENVIRONMENTS,
    Cache,
    Clicks,
    Codes,
    Links,
    Settings,
    Store,
    load_settings,
)
from app.settings.server import Server
from app.settings.telemetry import Log, Metrics, Tracing

__all__ = [
    "ENVIRONMENTS",
    "Breaker",
    "Bulkhead",
    "Cache",
    "Clicks",
    "Codes",
    "Coordination",
    "EngineBreaker",
    "EngineSafeguards",
    "Imports",
    "Links",
    "Log",
    "Messaging",
    "Metrics",
    "Protection",
    "Reload",
    "Retry",
    "Safeguards",
    "Server",
    "Settings",
    "Store",
    "Tracing",
    "load_settings",
]
