"""The command line: `astra serve`, also `python -m app serve`."""

from app.cli.command import main

__all__ = ["main"]
