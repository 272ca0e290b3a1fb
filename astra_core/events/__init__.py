"""What happened, as frozen dataclasses, and the listeners that hear of it."""

from astra_core.events.listeners import Listener, Listeners
from astra_core.events.sqlite import GroupCommitted, WriterContended

__all__ = ["GroupCommitted", "Listener", "Listeners", "WriterContended"]
