"""Every setting of the shortener, with its default, range and meaning; `docs/settings.md` is made from this package."""

from app.settings.policies import Breaker, Bulkhead, Protection, Retry, Safeguards
from app.settings.sections import (
    ENVIRONMENTS,
    Cache,
    Clicks,
    Codes,
    Links,
    Log,
    Server,
    Settings,
    Store,
    load_settings,
)

__all__ = [
    "ENVIRONMENTS",
    "Breaker",
    "Bulkhead",
    "Cache",
    "Clicks",
    "Codes",
    "Links",
    "Log",
    "Protection",
    "Retry",
    "Safeguards",
    "Server",
    "Settings",
    "Store",
    "load_settings",
]
