"""The knobs of the resilience policies: what each dependency, and the service itself, is protected by."""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Annotated

import msgspec

from astra_core.config import Duration, Problem, Section, Size, hot, restart

__all__ = ["Breaker", "Bulkhead", "EngineBreaker", "EngineSafeguards", "Protection", "Retry", "Safeguards"]

_MinimumCalls = Annotated[int, hot("Calls in the window before a rate means anything.", ge=1, le=100_000)]
_OpenFor = Annotated[Duration, hot("The first pause.", ge=0.01, le=600)]
_OpenCap = Annotated[Duration, hot("Up to this.", ge=0.01, le=3_600)]
_Probes = Annotated[int, hot("Calls that are let through after the pause, and judged.", ge=1, le=1_000)]
_Ramp = Annotated[float, hot("Length of the ramp back to all calls, as a multiple of the pause; 0: none.", ge=0, le=10)]


class Breaker(Section, frozen=True, kw_only=True):
    """When a circuit breaker opens, for how long, and how it comes back; docs/resilience-breaker.md explains it."""

    failure_rate: Annotated[float, hot("Share of failed calls that opens it.", ge=0.01, le=1)] = 0.5
    slow_rate: Annotated[float | None, hot("Share of slow calls that opens it; null: slowness does not.")] = None
    slow_after: Annotated[Duration, hot("A call that takes as long, or longer, is slow.", ge=0.001, le=60)] = 0.5
    window: Annotated[Duration, hot("The rates are those of the calls of this time.", ge=0.1, le=600)] = 10.0
    minimum_calls: _MinimumCalls = 10
    open_for: _OpenFor = 2.0
    open_multiplier: Annotated[
        float, hot("By which the pause grows each time that it opens before it has closed.", ge=1, le=10)
    ] = 2.0
    open_cap: _OpenCap = 30.0
    open_jitter: Annotated[float, hot("Largest share by which chance shortens the pause.", ge=0, le=0.9)] = 0.1
    probes: _Probes = 3
    probe_wait: Annotated[Duration, hot("A probe without a result after this has failed.", ge=0.01, le=600)] = 5.0
    ramp: _Ramp = 0.5
    ramp_start: Annotated[float, hot("Share of the calls that the ramp begins with.", ge=0.001, le=1)] = 0.1

    def check(self, environment: str) -> Iterable[Problem]:
        """A pause never starts above its cap, and a rate is a share."""
        if self.open_cap < self.open_for:
            text = "must not be below open_for; raise it, or lower that one"
            yield Problem(key="open_cap", text=text, others=("open_for",))
        if self.slow_rate is not None and not 0 < self.slow_rate <= 1:
            yield Problem(key="slow_rate", text="must be above 0 and at most 1, or null")


class Retry(Section, frozen=True, kw_only=True):
    """How often a failed call is tried again, after which wait (full jitter), paid from which budget."""

    attempts: Annotated[int, hot("Tries of one call, the first included; 1: no retry.", ge=1, le=10)] = 2
    try_timeout: (
        Annotated[
            Duration,
            hot("Longest time of one try, within the deadline of the whole; null: that one alone.", ge=0.001, le=60),
        ]
        | None
    ) = None
    base: Annotated[Duration, hot("Longest wait before the first retry; it doubles from then on.", ge=0.001, le=60)] = (
        0.02
    )
    cap: Annotated[Duration, hot("Longest wait before any retry.", ge=0.001, le=60)] = 0.2
    max_retry_after: Annotated[
        Duration, hot("Longest `Retry-After` of the other side that is waited for, before the backoff.", le=600)
    ] = 0.0
    budget_ratio: Annotated[float, hot("Retries as a share of the calls.", ge=0, le=1)] = 0.2
    budget_floor: Annotated[float, hot("Retries a second that are allowed in any case.", ge=0, le=10_000)] = 1.0
    budget_window: Annotated[
        Duration, hot("Over this time; a longer one lets a long calm pay for a storm.", ge=0.1, le=600)
    ] = 1.0

    def check(self, environment: str) -> Iterable[Problem]:
        """The waits grow up to their cap."""
        if self.cap < self.base:
            text = "must not be below base; raise it, or lower that one"
            yield Problem(key="cap", text=text, others=("base",))


class Bulkhead(Section, frozen=True, kw_only=True):
    """How much may run at once, and how much may wait for it."""

    limit: Annotated[int, hot("Calls at once.", ge=1, le=1_000_000)] = 1_000
    queue: Annotated[int, hot("Calls that may wait; more are refused at once.", ge=0, le=1_000_000)] = 10_000
    timeout: Annotated[Duration, hot("A call that waited this long is refused.", ge=0.001, le=60)] = 0.5


class Safeguards(Section, frozen=True, kw_only=True):
    """What stands round every call of one dependency."""

    breaker: Breaker = msgspec.field(default_factory=Breaker)
    retry: Retry = msgspec.field(default_factory=Retry)
    bulkhead: Bulkhead = msgspec.field(default_factory=Bulkhead)


class EngineBreaker(Breaker, frozen=True, kw_only=True):
    """One before an engine that is asked now and then, by loops and by no request: it knows of little, and soon.

    Its pauses are short beside the ttl of a lease, one good probe ends them, and there is no crowd that a ramp would
    hold back: a lease that is still held when the engine comes back can still be renewed.
    """

    minimum_calls: _MinimumCalls = 5
    open_for: _OpenFor = 0.5
    open_cap: _OpenCap = 5.0
    probes: _Probes = 1
    ramp: _Ramp = 0.0


class EngineSafeguards(Safeguards, frozen=True, kw_only=True):
    """What stands round every call of such an engine."""

    breaker: EngineBreaker = msgspec.field(default_factory=EngineBreaker)


class Protection(Section, frozen=True, kw_only=True):
    """What the middleware stack does for every request that is not answered from memory."""

    deadline: Annotated[
        Duration,
        hot("A request that has no answer within this time gets 504; below server.drain_timeout.", ge=0.1, le=300),
    ] = 3.5
    send_timeout: Annotated[
        Duration,
        hot("A client that takes nothing of its answer for this long is left.", ge=0.1, le=600),
    ] = 10.0
    deadline_floor: Annotated[
        Duration, hot("Least time that a caller's X-Request-Deadline can leave.", ge=0.001, le=60)
    ] = 0.05
    trusted_proxies: Annotated[
        tuple[str, ...],
        restart("Addresses and networks (10.0.0.0/8) whose X-Request-Deadline and X-Request-Id are taken over."),
    ] = ()
    per_connection: Annotated[
        int,
        hot("Requests of one connection at once; HTTP/2 clients that reset streams cannot pass it.", ge=1, le=10_000),
    ] = 128
    retry_body: Annotated[
        Size, restart("Largest body that is kept so that its request can be tried again.", le=16 * 1024**2)
    ] = 64 * 1024
    requests: Bulkhead = msgspec.field(default_factory=Bulkhead)
    breaker: Breaker = msgspec.field(default_factory=Breaker)
    retry: Retry = msgspec.field(default_factory=Retry)

    def check(self, environment: str) -> Iterable[Problem]:
        """The floor lies below the deadline, and proxies are addresses or networks."""
        if self.deadline_floor > self.deadline:
            text = "must not be above deadline; lower it, or raise that one"
            yield Problem(key="deadline_floor", text=text, others=("deadline",))
        for proxy in self.trusted_proxies:
            try:
                ip_network(proxy)
            except ValueError:
                text = f"{proxy[:64]!r} is neither an address nor a network; write 10.0.0.7, 10.0.0.0/8 or ::1"
                yield Problem(key="trusted_proxies", text=text)
