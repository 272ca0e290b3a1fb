"""Marks in the journal's folder: a segment is gone for good, and the store has still to forget its position.

The order is mark, unlink, sync the folder, forget, unmark. A process that ends in between leaves the mark, and whoever
adopts orphans finishes its work; a segment that is still there is not done, whatever its mark says. All of it blocks.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from app.clicks.segment import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["mark", "marked", "unmark"]

_DONE = ".done"


def mark(folder: Path, name: str) -> None:
    """Say that the segment of this name is about to go. On a disk that is full it goes without."""
    with contextlib.suppress(OSError):
        folder.joinpath(name + _DONE).touch(mode=0o600)


def marked(folder: Path) -> list[str]:
    """Return the names of segments that are gone and not forgotten."""
    names = (path.stem for path in folder.glob("*" + _DONE))
    return [name for name in names if not folder.joinpath(name + SUFFIX).exists()]


def unmark(folder: Path, names: Iterable[str]) -> None:
    """The store has forgotten them. A mark that stays is no harm: forgetting what is unknown is none."""
    for name in names:
        with contextlib.suppress(OSError):
            folder.joinpath(name + _DONE).unlink(missing_ok=True)
