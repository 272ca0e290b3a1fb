"""`astra codes`: what an operator does about the codes that a store gives out."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from app.cli.lines import say, say_problems
from app.main import advance_codes
from app.settings import load_settings
from astra_core.errors import AstraError, ConfigError

if TYPE_CHECKING:
    import argparse

__all__ = ["codes"]


def codes(options: argparse.Namespace) -> int:
    """Have codes skipped that a store gave out before it was restored, and return the exit code."""
    try:
        settings = load_settings(os.environ).settings
        if settings.store.engine == "memory":
            raise ConfigError(["store.url: memory: ends with its process, so there is nothing to restore"])
    except ConfigError as error:
        return say_problems(error)
    path = settings.store.path
    if not path.exists():
        say(f"there is no store at {path.absolute()}; restore it first")
        return 1
    try:
        asyncio.run(advance_codes(settings, options.blocks))
    except (AstraError, OSError) as error:
        say(f"no code is skipped: {error}")
        return 1
    count, region = options.blocks * settings.codes.block, settings.codes.region
    print(f"astra: the next {count:,} codes of region {region} are not given out (store {path.absolute()})")
    return 0
