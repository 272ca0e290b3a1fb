"""What a command has to say, in lines for the operator."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astra_core.errors import ConfigError

__all__ = ["say", "say_problems"]


def say(text: str) -> None:
    """One line for the operator, on stderr."""
    print(f"astra: {text}", file=sys.stderr, flush=True)


def say_problems(error: ConfigError) -> int:
    """A line for each thing that is wrong with the settings; returns the exit code that promises that."""
    for problem in error.problems:
        say(f"settings: {problem}")
    return 2
