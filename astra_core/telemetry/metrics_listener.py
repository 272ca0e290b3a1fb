"""Events to metrics: what happened, as it is told, is counted under the names of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from astra_core.events import (
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BreakerOverridden,
    BreakerRamping,
    CallHedged,
    CallRefused,
    CallRejected,
    CallThrottled,
    DeadlineExpired,
    EntriesWaiting,
    EventHandled,
    GroupBehind,
    GroupCommitted,
    InstanceStuck,
    LeaseEnded,
    LeaseTaken,
    MembersChanged,
    MessageRefused,
    MessagesTrimmed,
    MessagingCalled,
    OutboxRelayed,
    PoolWaited,
    RelayFailed,
    RetryGivenUp,
    RetryScheduled,
    RetrySucceeded,
    SlotHandedOver,
    StepConflicted,
    StoreCalled,
    TimerFired,
    WorkFailed,
    WriterContended,
)
from astra_core.telemetry import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.telemetry.family import Family
    from astra_core.telemetry.metrics import Metrics
    from astra_core.telemetry.series import Histogram

__all__ = ["MetricsListener"]

_OUTCOMES: Final = {"": "ok", "CommitConflict": "conflict", "CancelledError": "cancelled"}
"""Of a store's call, by the class of its error; any other is `failed`."""


class MetricsListener:
    """Counts events in `metrics`. Hand it, alone or among others, to whatever takes `listeners`.

    What an object keeps as plain figures (permits in use, the state of a breaker) is not told but looked at: see
    `watch_breaker` and its like. Events that are in no table are passed over.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._group = metrics.histogram(names.COMMIT_GROUP)
        self._commit = metrics.histogram(names.COMMIT_DURATION)
        self._lock_wait = metrics.histogram(names.COMMIT_WAIT)
        self._contended = metrics.counter(names.WRITER_CONTENDED)
        self._stores: dict[tuple[str, str, str], Histogram] = {}
        """Handles already bound, by labels: the one event that every request tells."""
        self._takers: dict[type, Callable[[Any], None]] = {
            StoreCalled: self._store_called,
            MessagingCalled: self._messaging_called,
            MessagesTrimmed: self._messages_trimmed,
            GroupBehind: self._group_behind,
            EventHandled: lambda event: self._count(names.WORKFLOW_EVENTS, event.workflow, event.outcome),
            StepConflicted: lambda event: self._count(names.WORKFLOW_CONFLICTS, event.workflow),
            TimerFired: self._timer_fired,
            InstanceStuck: lambda event: self._count(names.WORKFLOW_STUCK, event.workflow, event.cause),
            OutboxRelayed: self._outbox_relayed,
            MessageRefused: lambda event: self._count(names.RELAY_MESSAGES, event.relay, "refused"),
            RelayFailed: lambda event: self._count(names.RELAY_FAILURES, event.relay, event.cause),
            LeaseTaken: lambda event: self._count(names.LEASE_CHANGES, event.name, "taken"),
            LeaseEnded: lambda event: self._count(names.LEASE_CHANGES, event.name, event.outcome),
            WorkFailed: lambda event: self._count(names.LEASE_FAILURES, event.name, event.cause),
            MembersChanged: lambda _: self._count(names.MEMBER_CHANGES),
            SlotHandedOver: lambda event: metrics.histogram(names.SLOT_HANDOVER, event.side).observe(event.seconds),
            PoolWaited: self._pool_waited,
            GroupCommitted: self._group_committed,
            EntriesWaiting: self._entries_waiting,
            WriterContended: lambda event: self._contended.inc(event.tries),
            BreakerOpened: lambda event: self._breaker_moved(event.name, "open"),
            BreakerHalfOpened: lambda event: self._breaker_moved(event.name, "half-open"),
            BreakerRamping: lambda event: self._breaker_moved(event.name, "ramping"),
            BreakerClosed: lambda event: self._breaker_moved(event.name, "closed"),
            BreakerOverridden: lambda event: self._breaker_moved(event.name, event.state),
            CallRejected: lambda event: metrics.counter(names.BREAKER_REJECTED, event.name).inc(),
            RetryScheduled: lambda event: metrics.counter(names.RETRIES, event.name, "scheduled").inc(),
            RetrySucceeded: lambda event: metrics.counter(names.RETRIES, event.name, "succeeded").inc(),
            RetryGivenUp: lambda event: metrics.counter(names.RETRIES, event.name, event.reason).inc(),
            CallHedged: lambda event: metrics.counter(names.HEDGES, event.name).inc(),
            CallRefused: lambda event: metrics.counter(names.LIMITER_REJECTED, event.name, event.reason).inc(),
            CallThrottled: lambda event: metrics.counter(names.THROTTLED, event.name).inc(),
            DeadlineExpired: self._deadline_expired,
        }

    @property
    def kinds(self) -> frozenset[type]:
        """The events that it counts."""
        return frozenset(self._takers)

    def __call__(self, event: object, /) -> None:
        """Count `event`."""
        taker = self._takers.get(type(event))
        if taker is not None:
            taker(event)

    def _store_called(self, event: StoreCalled) -> None:
        labels = event.store, event.operation, _OUTCOMES.get(event.error, "failed")
        histogram = self._stores.get(labels)
        if histogram is None:
            histogram = self._stores[labels] = self._metrics.histogram(names.STORE_DURATION, *labels)
        histogram.observe(event.seconds)

    def _messaging_called(self, event: MessagingCalled) -> None:
        metrics, outcome = self._metrics, _OUTCOMES.get(event.error, "failed")
        if event.group:  # there from the start, with 0: an increase shows only of a series that was there
            for topic in event.topics:
                metrics.counter(names.MESSAGES_LOST, topic, event.group)
        metrics.histogram(names.MESSAGING_DURATION, event.engine, event.operation, outcome).observe(event.seconds)
        total = 0 if event.error else sum(event.topics.values())
        if total:
            metrics.histogram(names.MESSAGING_BATCH, event.engine, event.operation).observe(total)
            for topic, count in event.topics.items():
                metrics.counter(names.MESSAGES, topic, event.group, event.operation).inc(count)

    def _messages_trimmed(self, event: MessagesTrimmed) -> None:
        self._metrics.counter(names.MESSAGES_TRIMMED, event.topic).inc(event.count)
        for group, count in event.lost.items():
            self._metrics.counter(names.MESSAGES_LOST, event.topic, group).inc(count)

    def _group_behind(self, event: GroupBehind) -> None:
        self._metrics.gauge(names.MESSAGES_BEHIND, event.topic, event.group).set(event.messages)

    def _count(self, family: Family, *labels: str) -> None:
        self._metrics.counter(family, *labels).inc()

    def _timer_fired(self, event: TimerFired) -> None:
        self._count(names.WORKFLOW_TIMERS, event.workflow, event.outcome)
        self._metrics.histogram(names.WORKFLOW_LATENESS, event.workflow).observe(event.lateness)

    def _outbox_relayed(self, event: OutboxRelayed) -> None:
        self._metrics.counter(names.RELAY_MESSAGES, event.relay, "sent").inc(event.sent)

    def _pool_waited(self, event: PoolWaited) -> None:
        self._metrics.histogram(names.POOL_WAIT, event.pool).observe(event.seconds)

    def _entries_waiting(self, event: EntriesWaiting) -> None:
        self._metrics.gauge(names.ENTRIES_WAITING, event.collection, event.index).set(event.entries)

    def _group_committed(self, event: GroupCommitted) -> None:
        self._group.observe(event.size)
        self._commit.observe(event.seconds)
        self._lock_wait.observe(event.waited)

    def _breaker_moved(self, name: str, state: str) -> None:
        self._metrics.counter(names.BREAKER_TRANSITIONS, name, state).inc()

    def _deadline_expired(self, event: DeadlineExpired) -> None:
        whose = "own" if event.own else "caller"
        self._metrics.counter(names.DEADLINE_EXCEEDED, event.name, whose).inc()

    def __repr__(self) -> str:
        return f"MetricsListener({self._metrics!r})"
