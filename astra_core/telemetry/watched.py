"""Figures that objects keep anyway, shown under the names of the table: looked at when somebody asks, never pushed.

Each function takes anything that has the attributes its protocol names; the library's own objects have them.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, Final, Protocol

from astra_core.telemetry import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.telemetry.metrics import Metrics

__all__ = [
    "watch_breaker",
    "watch_budget",
    "watch_leadership",
    "watch_limiter",
    "watch_pool",
    "watch_process",
    "watch_relay",
    "watch_slots",
]

STATES: Final = ("closed", "open", "half-open", "ramping", "forced open", "disabled", "metrics only")


class BreakerLike(Protocol):
    """A circuit breaker, as metrics see it."""

    @property
    def name(self) -> str: ...
    @property
    def circuit_state(self) -> str: ...


class LimiterLike(Protocol):
    """A limiter, as metrics see it."""

    @property
    def name(self) -> str: ...
    @property
    def limit(self) -> int: ...
    @property
    def in_use(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class BudgetLike(Protocol):
    """A retry budget, as metrics see it."""

    @property
    def balance(self) -> int: ...


class PoolLike(Protocol):
    """A pool of threads, as metrics see it."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def in_use(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class RelayLike(Protocol):
    """A relay of messages, as metrics see it."""

    @property
    def name(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def age(self) -> float: ...


class LeadershipLike(Protocol):
    """Who competes for a lease, as metrics see it."""

    @property
    def name(self) -> str: ...
    @property
    def epoch(self) -> int: ...


class SlotOwnerLike(Protocol):
    """An owner of slots, as metrics see it."""

    @property
    def owned(self) -> int: ...
    @property
    def members(self) -> int: ...


def watch_breaker(metrics: Metrics, breaker: BreakerLike) -> None:
    """Show which state `breaker` is in: 1 for that one, 0 for the others."""
    for state in STATES:
        metrics.watch(names.BREAKER_STATE, _is_in(breaker, state), breaker.name, state)
        metrics.counter(names.BREAKER_TRANSITIONS, breaker.name, state)  # 0 before the first time, not absent
    metrics.counter(names.BREAKER_REJECTED, breaker.name)


def _is_in(breaker: BreakerLike, state: str) -> Callable[[], float]:
    return lambda: float(breaker.circuit_state == state)


def watch_limiter(metrics: Metrics, limiter: LimiterLike) -> None:
    """Show how full `limiter` is."""
    metrics.watch(names.LIMITER_IN_USE, lambda: limiter.in_use, limiter.name)
    metrics.watch(names.LIMITER_LIMIT, lambda: limiter.limit, limiter.name)
    metrics.watch(names.LIMITER_QUEUE, lambda: limiter.waiting, limiter.name)
    for reason in ("full", "timeout", "displaced"):
        metrics.counter(names.LIMITER_REJECTED, limiter.name, reason)


def watch_budget(metrics: Metrics, name: str, budget: BudgetLike) -> None:
    """Show what is left of the retry budget of `name`."""
    metrics.watch(names.RETRY_BUDGET, lambda: budget.balance, name)
    for outcome in ("scheduled", "succeeded", "attempts", "budget", "deadline", "unsafe"):
        metrics.counter(names.RETRIES, name, outcome)


def watch_pool(metrics: Metrics, pool: PoolLike) -> None:
    """Show how full `pool` is."""
    metrics.watch(names.POOL_IN_USE, lambda: pool.in_use, pool.name)
    metrics.watch(names.POOL_MAX, lambda: pool.size, pool.name)
    metrics.watch(names.POOL_THREADS, lambda: pool.threads, pool.name)
    metrics.watch(names.POOL_QUEUE, lambda: pool.waiting, pool.name)
    metrics.histogram(names.POOL_WAIT, pool.name)


def watch_relay(metrics: Metrics, relay: RelayLike) -> None:
    """Show how much `relay` has before it."""
    metrics.watch(names.RELAY_DEPTH, lambda: relay.depth, relay.name)
    metrics.watch(names.RELAY_AGE, lambda: relay.age, relay.name)
    for outcome in ("sent", "refused"):
        metrics.counter(names.RELAY_MESSAGES, relay.name, outcome)


def watch_leadership(metrics: Metrics, leadership: LeadershipLike) -> None:
    """Show whether the lease that `leadership` competes for is held here, and under which number."""
    metrics.watch(names.LEASE_HELD, lambda: float(leadership.epoch > 0), leadership.name)
    metrics.watch(names.LEASE_EPOCH, lambda: leadership.epoch, leadership.name)
    for change in ("taken", "released", "lost"):
        metrics.counter(names.LEASE_CHANGES, leadership.name, change)


def watch_slots(metrics: Metrics, owner: SlotOwnerLike) -> None:
    """Show how many slots `owner` has, and among how many members it sees itself."""
    metrics.watch(names.SLOTS_OWNED, lambda: owner.owned)
    metrics.watch(names.MEMBERS, lambda: owner.members)
    for side in ("given", "taken"):
        metrics.histogram(names.SLOT_HANDOVER, side)


def watch_process(metrics: Metrics) -> None:
    """Show this process: that it is alive, its memory, its processor time."""
    metrics.watch(names.WORKERS, lambda: 1)
    metrics.watch(names.WORKER_MEMORY, resident)
    metrics.watch(names.WORKER_CPU, time.process_time)


def resident() -> int:
    """Return the bytes of memory that the process holds; where `/proc` is not there, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
