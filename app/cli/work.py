"""`astra worker`: carries imports out, where `imports.worker` leaves that to whoever runs this."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from app.cli.lines import say, say_problems
from app.cli.serve import located
from app.main.telemetry import install_logs
from app.settings import load_settings
from app.worker import work_alone
from astra_core.errors import AstraError, ConfigError

if TYPE_CHECKING:
    import argparse

__all__ = ["work"]

_WAITS = "waiting: another process holds the lease on the imports, such as a service with imports.worker on"
_WORKS = "astra: carrying imports out (store {})"


def work(options: argparse.Namespace) -> int:
    """Work until told to stop, and return the exit code."""
    try:
        settings = load_settings(os.environ).settings
        if settings.store.engine == "memory":
            raise ConfigError(["store.url: memory: is not shared between processes; the service does its imports"])
    except ConfigError as error:
        return say_problems(error)
    logs = install_logs(settings.log)
    try:
        works = _WORKS.format(located(settings.store.url))
        asyncio.run(work_alone(settings, waiting=lambda: say(_WAITS), working=lambda: print(works, flush=True)))
    except (AstraError, OSError) as error:
        say(f"the worker ends: {error}")
        return 1
    finally:
        logs.close()
    return 0
