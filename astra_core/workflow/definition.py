"""How the instances of a machine are kept: a machine, the data beside its state, and what its effects become."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from astra_core.errors import DefinitionError
from astra_core.fsm.names import effect_name, state_name
from astra_core.storage.catalogue import Catalogue
from astra_core.storage.records import Collection, Index
from astra_core.workflow.ids import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from astra_core.fsm import Decision, Machine

__all__ = ["Workflow"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")
D = TypeVar("D")


def _nothing(data: Any, now: float) -> Any:
    return None


def _unchanged(data: Any, decision: Any, now: float) -> Any:
    return data


def _itself(event: Any) -> Any:
    return event


@dataclass(frozen=True, kw_only=True)
class Workflow(Generic[S, E, C, D]):
    """A machine whose instances live in a store, one record each.

    `data` is the type of what an instance holds besides its state, a msgspec struct or anything else that msgspec
    encodes. `context(data, now)` makes what the machine's guards read, of the type `reads`; `evolve(data, decision,
    now)` returns the data after a step. Both are pure, and `now` is wall time in seconds. Each effect of a step becomes
    one message on `topic`; with `announce`, each event that was taken is told on that topic as well. The ids of events
    are remembered for `remember` seconds: a duplicate that comes later still is taken for a new event.

    Raises `DefinitionError` for names and types that cannot be stored.
    """

    machine: Machine[S, E, C]
    data: type[D]
    reads: Any = None
    context: Callable[[D, float], C] = _nothing
    evolve: Callable[[D, Decision[S, E], float], D] = _unchanged
    told: Callable[[E], E] = _itself
    """What histories and messages hold of an event: of one that carries what must not be written down, the rest."""
    name: str = ""
    """Of the collection and of the stream of events; that of the machine unless given."""
    topic: str = ""
    """Where effects go; the name unless given."""
    announce: str = ""
    deferred: int = 100
    """Events that an instance keeps for a later state, at most (machines whose policy is `DEFER`)."""
    remember: float = 7 * 86_400.0
    states: Mapping[str, S] = field(init=False, compare=False, repr=False)
    """Derived: states by the names that are stored."""
    events: Mapping[str, Callable[[Any], Any]] = field(init=False, compare=False, repr=False)
    """Derived: from the JSON of an event to the event, by its name."""
    read_data: Callable[[Any], D] = field(init=False, compare=False, repr=False)
    read_context: Callable[[Any], C] = field(init=False, compare=False, repr=False)
    records: Collection = field(init=False, compare=False, repr=False)
    """Derived: of its instances, unless a keeper of your own has another; it orders by `due` and by `state`."""
    seen: Collection = field(init=False, compare=False, repr=False)
    """Derived: of the ids of events that were taken."""

    def __post_init__(self) -> None:
        name = self.name or self.machine.name
        machine = self.machine
        derived: dict[str, Any] = {
            "name": name,
            "topic": self.topic or name,
            "states": {state_name(state): state for state in machine.states},
            "records": Collection(name=name, indexes=(Index(name="due"), Index(name="state"))),
            "seen": ids(f"{name}_seen"),
        }
        problems = list(self._problems(len(derived["states"])))
        try:
            derived["events"] = {event.__name__: _decoder(event) for event in machine.events}
            derived["read_data"], derived["read_context"] = _decoder(self.data), _decoder(self.reads)
        except TypeError as error:
            problems.append(str(error))
        for attribute, value in derived.items():
            object.__setattr__(self, attribute, value)
        try:
            Catalogue(self.collections)
        except DefinitionError as error:
            problems += error.problems
        if problems:
            raise DefinitionError(f"workflow {name}", problems)

    @property
    def collections(self) -> tuple[Collection, ...]:
        """What a store must be told of to keep its instances."""
        return self.records, self.seen

    def _problems(self, names: int) -> Iterator[str]:
        machine = self.machine
        if names != len(machine.states):
            yield "two states are stored under one name"
        if len({event.__name__ for event in machine.events}) != len(machine.events):
            yield "two events are stored under one name"
        if self.reads is None and self.context is not _nothing:
            yield "its context has no type: name it in reads"
        effects = [effect for each in machine.transitions for effect in each.effects]
        effects += [effect for within in machine.within for effect in (*within.entry, *within.exit)]
        for effect in effects:
            try:
                msgspec.json.encode(effect)
            except (TypeError, ValueError):
                yield f"the effect {effect_name(effect)} cannot be a message"


def _decoder(kind: Any) -> Callable[[Any], Any]:
    return msgspec.json.Decoder(kind).decode
