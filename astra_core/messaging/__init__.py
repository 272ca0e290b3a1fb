"""Topics, publishers and consumer groups behind ports, and the engines that serve them."""

from astra_core.messaging.guarded import guarded, messaging_is_failing, messaging_said_nothing
from astra_core.messaging.memory import MemoryMessaging
from astra_core.messaging.messages import GroupState, Outgoing, Received, TopicState
from astra_core.messaging.observed import observed, report
from astra_core.messaging.port import Consumer, MessagingEngine, Publisher
from astra_core.messaging.retain import Retain
from astra_core.messaging.sqlite import SqliteMessaging
from astra_core.messaging.urls import messaging_from_url

__all__ = [
    "Consumer",
    "GroupState",
    "MemoryMessaging",
    "MessagingEngine",
    "Outgoing",
    "Publisher",
    "Received",
    "Retain",
    "SqliteMessaging",
    "TopicState",
    "guarded",
    "messaging_from_url",
    "messaging_is_failing",
    "messaging_said_nothing",
    "observed",
    "report",
]
