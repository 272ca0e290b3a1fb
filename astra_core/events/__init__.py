"""What happened, as frozen dataclasses, and the listeners that hear of it."""

from astra_core.events.breaker import (
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BreakerOverridden,
    BreakerRamping,
    CallRejected,
)
from astra_core.events.coordination import LeaseEnded, LeaseTaken, MembersChanged, SlotHandedOver, WorkFailed
from astra_core.events.deadline import DeadlineExpired
from astra_core.events.keyed import ExecutorClosed, TaskDeadLettered, TaskRejected
from astra_core.events.limiter import CallRefused, CallThrottled, LimitChanged
from astra_core.events.listeners import Listener, Listeners, hears
from astra_core.events.messaging import GroupBehind, MessagesTrimmed, MessagingCalled
from astra_core.events.pool import PoolWaited
from astra_core.events.retry import CallHedged, RetryGivenUp, RetryScheduled, RetrySucceeded
from astra_core.events.settings import SettingsRefused, SettingsReloaded, SettingsUnchanged
from astra_core.events.sqlite import GroupCommitted, WriterContended
from astra_core.events.store import EntriesWaiting, StoreCalled
from astra_core.events.workflow import (
    EventHandled,
    InstanceStuck,
    MessageRefused,
    OutboxRelayed,
    RelayFailed,
    StepConflicted,
    TimerFired,
)

__all__ = [
    "BreakerClosed",
    "BreakerHalfOpened",
    "BreakerOpened",
    "BreakerOverridden",
    "BreakerRamping",
    "CallHedged",
    "CallRefused",
    "CallRejected",
    "CallThrottled",
    "DeadlineExpired",
    "EntriesWaiting",
    "EventHandled",
    "ExecutorClosed",
    "GroupBehind",
    "GroupCommitted",
    "InstanceStuck",
    "LeaseEnded",
    "LeaseTaken",
    "LimitChanged",
    "Listener",
    "Listeners",
    "MembersChanged",
    "MessageRefused",
    "MessagesTrimmed",
    "MessagingCalled",
    "OutboxRelayed",
    "PoolWaited",
    "RelayFailed",
    "RetryGivenUp",
    "RetryScheduled",
    "RetrySucceeded",
    "SettingsRefused",
    "SettingsReloaded",
    "SettingsUnchanged",
    "SlotHandedOver",
    "StepConflicted",
    "StoreCalled",
    "TaskDeadLettered",
    "TaskRejected",
    "TimerFired",
    "WorkFailed",
    "WriterContended",
    "hears",
]
