"""Persistent machines over a store: what binds fsm, storage, messaging and coordination."""

from astra_core.workflow.course import Fired, Step, advance, beginning
from astra_core.workflow.definition import Workflow
from astra_core.workflow.entries import BEGIN, Entry, Kept, Notice, Occurrence
from astra_core.workflow.fences import FENCES, Fence, take_fence
from astra_core.workflow.inbox import Inbox, Subscriber
from astra_core.workflow.instance import Instance, Result, UnknownInstance
from astra_core.workflow.keeper import Keeper, Loaded, RecordKeeper
from astra_core.workflow.relay import REFUSED, Relay
from astra_core.workflow.replaying import Replayed, replayed
from astra_core.workflow.runner import Runner, StoreWithHistory
from astra_core.workflow.sweeper import Sweeper

__all__ = [
    "BEGIN",
    "FENCES",
    "REFUSED",
    "Entry",
    "Fence",
    "Fired",
    "Inbox",
    "Instance",
    "Keeper",
    "Kept",
    "Loaded",
    "Notice",
    "Occurrence",
    "RecordKeeper",
    "Relay",
    "Replayed",
    "Result",
    "Runner",
    "Step",
    "StoreWithHistory",
    "Subscriber",
    "Sweeper",
    "UnknownInstance",
    "Workflow",
    "advance",
    "beginning",
    "replayed",
    "take_fence",
]
