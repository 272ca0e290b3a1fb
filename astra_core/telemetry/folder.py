"""The folder where the workers of one service leave their figures, and the totals of those that are gone.

A worker that ended, however it did, has let go of its file's lock. Whoever takes that lock adds the file's counts to
`totals`, which names the files it holds; then the file goes. After a crash between the two steps the name in `totals`
says that the file was counted, so nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Final

from astra_core.telemetry.family import Kind
from astra_core.telemetry.mapped import SUFFIX, UNBORN, Figures, read_figures
from astra_core.telemetry.series import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["Folder", "Sums"]

_TOTALS: Final = "totals.json"
_LOCK: Final = "lock"
_UNBORN_AGE: Final = 60.0
_TRIES: Final = 100
_PAUSE: Final = 0.01
_SUMMED: Final = frozenset({Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY})


class Sums:
    """Series by family and labels, each the sum of what was added to it; at most `max_series` a family."""

    def __init__(self, *, max_series: int) -> None:
        self.found: dict[tuple[str, str], dict[tuple[str, ...], list[float]]] = {}
        self._max = max_series

    def add(self, figures: Figures) -> None:
        """Add a series. One of another shape, of an older release, gives way to the newer one."""
        family = self.found.setdefault((figures.family, figures.kind), {})
        labels = figures.labels
        if labels not in family and len(family) >= self._max:
            labels = (OTHER,) * len(labels)
        sums = family.get(labels)
        if sums is None or len(sums) != len(figures.values):
            family[labels] = list(figures.values)
            return
        for place, value in enumerate(figures.values):
            sums[place] += value

    def __iter__(self) -> Iterator[Figures]:
        for (family, kind), series in self.found.items():
            for labels, values in series.items():
                yield Figures(family, kind, labels, tuple(values))


class Folder:
    """Reads what others left. Every call blocks; only a stopped process can make it wait, for a second at most."""

    def __init__(self, path: Path, *, max_series: int, pause: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._max = max_series
        self._pause = pause

    def make(self) -> None:
        """Make the folder, and sweep files that died with their maker before they had a name. Raises `OSError`."""
        self.path.mkdir(parents=True, exist_ok=True)
        for path in self.path.glob("*" + UNBORN):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _UNBORN_AGE:
                    path.unlink()

    def read(self, *, but: str = "") -> tuple[list[Figures], list[Figures]]:
        """Return the totals of workers that are gone, and the figures of those that live but the one named `but`.

        Raises `OSError`.
        """
        with self._locked():
            live: list[Figures] = []
            dead: dict[str, list[Figures]] = {}
            for path in sorted(self.path.glob("*" + SUFFIX)):
                if path.name == but:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        gone = _is_dead(fd)  # first: what it publishes last must be in what is read
                        figures = read_figures(fd, settled=gone, pause=self._pause)
                        if gone:
                            dead[path.name] = figures
                        else:
                            live += figures
                    finally:
                        os.close(fd)
            return self._fold(dead), live

    def _fold(self, dead: dict[str, list[Figures]]) -> list[Figures]:
        folded, sums = self._totals()
        new = {name: figures for name, figures in dead.items() if name not in folded}
        for figures in new.values():
            for one in figures:
                if one.kind in _SUMMED:
                    sums.add(one)
        if new:
            present = [name for name in folded if (self.path / name).exists()]
            self._keep([*present, *new], sums)
        for name in dead:
            (self.path / name).unlink(missing_ok=True)
        return list(sums)

    def _totals(self) -> tuple[list[str], Sums]:
        sums = Sums(max_series=self._max)
        try:
            kept = json.loads((self.path / _TOTALS).read_bytes())
        except FileNotFoundError:
            return [], sums
        except ValueError:  # never by our own writing: a name is given to whole files only
            return [], sums
        for family, kind, labels, values in kept["series"]:
            sums.add(Figures(family, kind, tuple(labels), tuple(values)))
        return kept["folded"], sums

    def _keep(self, folded: Iterable[str], sums: Sums) -> None:
        series = [[one.family, one.kind, one.labels, one.values] for one in sums]
        other = self.path / (_TOTALS + ".new")
        with other.open("w", encoding="utf-8") as file:
            json.dump({"folded": list(folded), "series": series}, file)
            file.flush()
            os.fsync(file.fileno())
        other.rename(self.path / _TOTALS)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One reader at a time, so that nobody sees a file and the totals that hold it."""
        fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(_TRIES):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._pause(_PAUSE)
            else:
                raise TimeoutError(f"{self.path / _LOCK}: held for a second by another process")
            yield
        finally:
            os.close(fd)

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"


def _is_dead(fd: int) -> bool:
    """Whether the file's process is gone; if so its lock is ours until `fd` is closed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
