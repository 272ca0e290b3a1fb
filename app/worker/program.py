"""The program of a worker that a server process starts; it is run by its path for the reason that `cli.child` gives."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.main.telemetry import install_logs
from app.settings import load_settings
from app.worker.process import run_worker
from astra_core.errors import AstraError, ConfigError

__all__ = ["main"]

logger = logging.getLogger(__name__)

_NICE = 10
"""Whoever answers requests comes first."""


def main() -> int:
    """Carry out imports; the exit code says whether that went well: 2 settings, 1 the store."""
    try:
        settings = load_settings(os.environ).settings
    except ConfigError as error:
        logger.error("the worker of imports cannot start: %s", error)
        return 2
    os.nice(_NICE)  # before there is a second thread: each has its own
    logs = install_logs(settings.log)
    try:
        asyncio.run(run_worker(settings))
    except (AstraError, OSError) as error:
        logger.error("the worker of imports ends: %s", error)
        return 1
    finally:
        logs.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
