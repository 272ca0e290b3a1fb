"""How instances lie in a store: the port between a runner and the records of an application, and the plain way."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from astra_core.errors import DefinitionError
from astra_core.fsm.names import event_name, state_name
from astra_core.storage.records import Query
from astra_core.storage.writes import Insert, Replace
from astra_core.workflow.entries import Entry, Kept, Occurrence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.storage.records import Record
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Entries, Write
    from astra_core.workflow.definition import Workflow

__all__ = ["Keeper", "Loaded", "RecordKeeper"]

S = TypeVar("S", bound=Enum)
D = TypeVar("D")

_encode = msgspec.json.Encoder().encode


class Loaded(Struct, Generic[S, D], frozen=True):
    """An instance as it was read, and the version of its record."""

    kept: Kept[S, D]
    version: int


class Keeper(Protocol[S, D]):
    """Reads instances, and says what to commit to change one.

    `D` may hold more than the record does: facts that guards read and that `load` brings along, as of the same moment.
    """

    async def load(self, key: str) -> Loaded[S, D] | None:
        """Return the instance, or None. One of whom no timer may fire any more has none in `kept.timers`."""
        ...

    def writes(self, key: str, before: Loaded[S, D] | None, after: Kept[S, D]) -> Sequence[Write]:
        """Return what to commit: first the record, inserted or replaced at `before.version`, then what goes with it."""
        ...

    def first(self, key: str, loaded: Loaded[S, D]) -> Entry | None:
        """Return the first entry of the history where it was not stored when the record was made; None where it was."""
        ...

    def overdue(self, now: int, *, limit: int) -> Query:
        """Return the query for records whose first timer is due by `now`, in microseconds, the longest due first."""
        ...

    def key(self, record: Record) -> str:
        """Return the key of the instance whose record `overdue` found."""
        ...


class RecordKeeper(Generic[S, D]):
    """A `Keeper` with a collection of its own, a JSON object a record."""

    def __init__(self, workflow: Workflow[S, Any, Any, D], store: Store) -> None:
        self._workflow = workflow
        self._store = store

    def __repr__(self) -> str:
        return f"RecordKeeper({self._workflow.name!r})"

    async def load(self, key: str) -> Loaded[S, D] | None:
        """See `Keeper.load`. Raises `DefinitionError` for a state or an event that the machine no longer has."""
        record = await self._store.get(self._workflow.name, key)
        return None if record is None else Loaded(self._kept(key, _decode(record.value)), record.version)

    def writes(self, key: str, before: Loaded[S, D] | None, after: Kept[S, D]) -> Sequence[Write]:
        """See `Keeper.writes`."""
        name = self._workflow.name
        value, entries = _encode(_stored(after)), _entries(after)
        if before is None:
            return (Insert(collection=name, key=key, value=value, entries=entries),)
        return (Replace(collection=name, key=key, version=before.version, value=value, entries=entries),)

    def first(self, key: str, loaded: Loaded[S, D]) -> Entry | None:
        """Return None: every entry is stored."""
        return None

    def overdue(self, now: int, *, limit: int) -> Query:
        """See `Keeper.overdue`."""
        return Query(collection=self._workflow.name, index="due", below=now + 1, limit=limit)

    def key(self, record: Record) -> str:
        """See `Keeper.key`."""
        return record.key

    def _kept(self, key: str, stored: _Stored) -> Kept[S, D]:
        workflow = self._workflow
        try:
            state = workflow.states[stored.state]
            deferred = tuple(
                Occurrence(workflow.events[each.event](each.data), each.id, each.by, each.why)
                for each in stored.deferred
            )
        except KeyError as gone:
            problem = f"{key!r} was stored with {gone.args[0]!r}, which the machine no longer has"
            raise DefinitionError(f"workflow {workflow.name}", [problem]) from None
        return Kept(state=state, data=workflow.read_data(stored.data), timers=stored.timers, deferred=deferred)


class _Waiting(Struct, frozen=True, omit_defaults=True):
    event: str
    data: Raw
    id: str
    by: str = ""
    why: str = ""


class _Stored(Struct, frozen=True, omit_defaults=True):
    state: str
    data: Raw
    timers: dict[str, int] = {}
    deferred: tuple[_Waiting, ...] = ()


_decode = msgspec.json.Decoder(_Stored).decode


def _stored(kept: Kept[Any, Any]) -> _Stored:
    waiting = tuple(
        _Waiting(event_name(type(each.event)), Raw(_encode(each.event)), each.id, each.by, each.why)
        for each in kept.deferred
    )
    return _Stored(state_name(kept.state), Raw(_encode(kept.data)), dict(kept.timers), waiting)


def _entries(kept: Kept[Any, Any]) -> Entries:
    state, due = ((state_name(kept.state),),), kept.due
    return {"state": state} if due is None else {"state": state, "due": ((due,),)}
