"""What happened, as frozen dataclasses, and the listeners that hear of it."""

from astra_core.events.breaker import (
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BreakerOverridden,
    BreakerRamping,
    CallRejected,
)
from astra_core.events.deadline import DeadlineExpired
from astra_core.events.limiter import CallRefused, CallThrottled, LimitChanged
from astra_core.events.listeners import Listener, Listeners
from astra_core.events.retry import CallHedged, RetryGivenUp, RetryScheduled
from astra_core.events.sqlite import GroupCommitted, WriterContended

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
    "GroupCommitted",
    "LimitChanged",
    "Listener",
    "Listeners",
    "RetryGivenUp",
    "RetryScheduled",
    "WriterContended",
]
