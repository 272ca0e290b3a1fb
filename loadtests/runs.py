"""One run of wrk against one server, with what it took of the server's core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtests.figures import Figure
from loadtests.ratios import quartiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadtests.servers import Server
    from loadtests.wrk import Load, WrkResult

__all__ = ["Run", "disturbances", "figures_of", "run_once"]

_BUSY_ENOUGH = 0.9


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk measured, and the seconds of processor time that the server took meanwhile."""

    result: WrkResult
    server_cpu: float

    @property
    def cost(self) -> float:
        """Seconds of the server's processor time a request, the kernel's work for it included."""
        return self.server_cpu / self.result.requests

    @property
    def busy(self) -> float:
        """The share of one core that the server used: near 1, or its rate tells of something else."""
        return self.server_cpu / self.result.seconds


def run_once(
    server: Server, path: str, load: Load, *, seconds: int | None = None, arguments: Iterable[str] = ()
) -> Run:
    """Load `path` of `server` once; raises `AssertionError` when an answer was refused or a connection broke."""
    before = server.cpu()
    result = load.run(server.url + path, seconds=seconds, arguments=arguments)
    if not result.clean:
        raise AssertionError(f"{server.variant.name}: {result.refused} refused, {result.broken} broken")
    return Run(result, server.cpu() - before)


def figures_of(name: str, runs: Sequence[Run]) -> list[Figure]:
    """Return the figures of one server."""
    return [
        Figure(f"{name}.rate", "requests/s", quartiles([run.result.rate for run in runs])),
        Figure(f"{name}.cpu", "us a request", quartiles([run.cost * 1e6 for run in runs])),
        Figure(f"{name}.busy", "of its core", quartiles([run.busy for run in runs])),
        Figure(f"{name}.p50", "ms", quartiles([run.result.p50 * 1e3 for run in runs])),
        Figure(f"{name}.p99", "ms", quartiles([run.result.p99 * 1e3 for run in runs])),
    ]


def disturbances(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Say which servers did not have their core to themselves, or were not kept busy: their rates mean less."""
    busy = {name: quartiles([run.busy for run in found]).median for name, found in runs.items()}
    return [
        f"{name} used only {share:.0%} of its core: the load generator or other processes held it up"
        for name, share in busy.items()
        if share < _BUSY_ENOUGH
    ]
