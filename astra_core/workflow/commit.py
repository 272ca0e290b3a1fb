"""What one step of an instance writes: the record, the id, the history and the messages, all or nothing."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from astra_core.errors import ConflictReason
from astra_core.messaging.messages import MAX_TEXT
from astra_core.storage.writes import Append, Publish, Require
from astra_core.workflow.entries import NULL, Notice
from astra_core.workflow.ids import remember

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astra_core.errors import CommitConflict
    from astra_core.storage.writes import Write
    from astra_core.workflow.course import Step
    from astra_core.workflow.definition import Workflow
    from astra_core.workflow.keeper import Keeper, Loaded

__all__ = ["BEGUN", "Commit", "commit_of", "requirements", "seen_key"]

BEGUN = b"begun"
"""What is remembered of an id that began an instance; of any other event's nothing."""
_encode = msgspec.json.Encoder().encode


class Commit(NamedTuple):
    """The writes of a step: those of the caller, `record` of the keeper's, the rest."""

    writes: list[Write]
    record: range

    def is_overtaken(self, conflict: CommitConflict) -> bool:
        """Whether the record was changed by somebody else, so that the step is to be decided again."""
        moved = conflict.reason in {ConflictReason.VERSION, ConflictReason.MISSING}
        return moved and conflict.write in self.record


def commit_of(
    workflow: Workflow[Any, Any, Any, Any],
    keeper: Keeper[Any, Any],
    key: str,
    before: Loaded[Any, Any] | None,
    step: Step[Any, Any, Any],
    *,
    event_id: str,
    also: Sequence[Write],
    now: int,
) -> Commit:
    """Return what a step comes to; with an `event_id`, it can be committed once."""
    writes = [*also, *keeper.writes(key, before, step.kept)]
    record = range(len(also), len(writes))
    if event_id:
        value = BEGUN if before is None else b""
        writes.append(remember(workflow.seen.name, seen_key(key, event_id), now=now, value=value))
    writes += [Append(stream=workflow.name, key=key, data=_encode(entry)) for entry in step.entries]
    writes += _messages(workflow, key, 1 if before is None else before.version + 1, step)
    return Commit(writes, record)


def seen_key(key: str, event_id: str) -> str:
    """Return the key under which the id of an event is remembered: ids of different instances are no duplicates."""
    return _encode((key, event_id)).decode()


def requirements(also: Sequence[Write]) -> list[Write]:
    """Return those writes that only require: a fence holds for everything that its owner writes."""
    return [write for write in also if type(write) is Require]


def _messages(
    workflow: Workflow[Any, Any, Any, Any], key: str, version: int, step: Step[Any, Any, Any]
) -> Iterator[Publish]:
    """Yield one message an event, if events are told, and behind it one an effect of it.

    A message is recognised by instance, version and place: an id that no other commit can have while the record lives.
    One that was deleted and begun again counts its versions anew.
    """
    told = [(place, workflow.announce, NULL) for place in range(len(step.entries)) if workflow.announce]
    told += [(place, workflow.topic, Raw(_encode(effect))) for place, effect in step.effects]
    told.sort(key=lambda each: each[0])
    for number, (place, topic, effect) in enumerate(told):
        entry = replace(step.entries[place], context=NULL)
        notice = Notice(workflow=workflow.name, key=key, version=version, entry=entry, effect=effect)
        yield Publish(topic=topic, key=key, data=_encode(notice), id=_message_id(workflow.name, key, version, number))


def _message_id(workflow: str, key: str, version: int, number: int) -> str:
    """Return the id of a message; a key that makes it too long for a broker stands in it as its SHA-256."""
    found = f"{workflow}:{key}:{version}:{number}"
    return found if len(found) <= MAX_TEXT else f"{workflow}:{sha256(key.encode()).hexdigest()}:{version}:{number}"
