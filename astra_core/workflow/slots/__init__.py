"""Slots: which process does the work of which keys, so that all work of a key is done in one place, in order."""

from astra_core.workflow.slots.hashing import SLOTS, SlotMap, slot_of
from astra_core.workflow.slots.owner import SlotOwner

__all__ = ["SLOTS", "SlotMap", "SlotOwner", "slot_of"]
