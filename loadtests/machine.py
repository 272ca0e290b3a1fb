"""The conditions of a measurement, and which core runs what."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

__all__ = ["Cores", "conditions", "cores"]

_PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "msgspec")


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the server and of the load generator; None where there is no second core to pin to."""

    server: int | None
    load: int | None

    @property
    def apart(self) -> bool:
        """Whether the load generator leaves the server's core alone."""
        return self.server is not None


def cores() -> Cores:
    """Choose two cores from those that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1]) if len(usable) > 1 else Cores(None, None)


def conditions(**options: Any) -> dict[str, Any]:
    """Return what a reader needs to judge the figures: interpreter, packages, cores, load before the run, options."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        **options,
    }
