"""What can be wrong with the entries, exits, timers and composites of a machine."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from astra_core.fsm.names import state_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astra_core.fsm.definition import Machine
    from astra_core.fsm.stays import Within

__all__ = ["stay_problems"]


def stay_problems(machine: Machine[Any, Any, Any]) -> Iterator[str]:
    """Yield every problem of what `within` declares."""
    for stay in machine.within:
        yield from _members(machine, stay)
        yield from _timers(machine, stay)
    for one, other in combinations(machine.within, 2):
        first, second = set(one.members), set(other.members)
        if first == second:
            yield f"{_label(one)} is declared twice"
        elif first & second and not (first < second or second < first):
            yield f"{_label(one)} and {_label(other)} overlap, and neither holds the other"
    timers = Counter(timer.name for stay in machine.within for timer in stay.timers)
    for name, times in timers.items():
        if times > 1 and not _apart(machine, name):
            yield f"timer {name} is set by {times} states that may hold at once"


def _members(machine: Machine[Any, Any, Any], stay: Within[Any]) -> Iterator[str]:
    for state in stay.members:
        if not isinstance(state, machine.states):
            yield f"{_label(stay)} holds {state!r}, not a state of {machine.states.__name__}"
    if len(stay.members) != 1 and not stay.name:
        yield f"the composite of {', '.join(map(state_name, stay.members)) or 'no states'} has no name"


def _timers(machine: Machine[Any, Any, Any], stay: Within[Any]) -> Iterator[str]:
    handled = {(source, each.event) for each in machine.transitions for source in each.sources}
    for timer in stay.timers:
        if (timer.after is None) is (timer.at is None):
            yield f"timer {timer.name} needs either after or at"
        if timer.after is not None and not timer.after > 0:
            yield f"timer {timer.name} has no time to wait: after is {timer.after}"
        if type(timer.event) not in machine.events:
            yield f"timer {timer.name} sends an event that is not declared"
            continue
        for state in stay.members:
            if (state, type(timer.event)) not in handled:
                yield f"timer {timer.name} fires in {state_name(state)}, where no transition takes it"


def _apart(machine: Machine[Any, Any, Any], name: str) -> bool:
    """Whether the stays with that timer share no state, so that only one sets it."""
    spans = [set(stay.members) for stay in machine.within for timer in stay.timers if timer.name == name]
    return not any(one & other for one, other in combinations(spans, 2))


def _label(stay: Within[Any]) -> str:
    return f"composite {stay.name}" if stay.name else f"state {', '.join(map(state_name, stay.members))}"
