"""Topics, publishers and consumer groups behind ports, and the engines that serve them."""

from astra_core.messaging.memory import MemoryMessaging
from astra_core.messaging.messages import GroupState, Outgoing, Received, TopicState
from astra_core.messaging.port import Consumer, MessagingEngine, Publisher
from astra_core.messaging.retain import Retain

__all__ = [
    "Consumer",
    "GroupState",
    "MemoryMessaging",
    "MessagingEngine",
    "Outgoing",
    "Publisher",
    "Received",
    "Retain",
    "TopicState",
]
