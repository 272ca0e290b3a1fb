"""The pure course: what lateness changes (nothing), and timers that set themselves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hypothesis import given
from hypothesis import strategies as st

from astra_core.fsm import Machine, Outcome, Timer, Transition, Within
from astra_core.workflow import Entry, Kept, Occurrence, Workflow, advance, beginning
from tests.unit.astra_core.workflow.parcels import PARCEL, Load, Parcel, ParcelEvent, Pay, Return, Weight

SECOND = 1_000_000
EVENTS = st.one_of(st.builds(Pay, st.integers(0, 3)), st.just(Load()), st.just(Return()))


class Beat(Enum):
    """Two states."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Tick:
    """A moment is over."""


@dataclass(frozen=True)
class Stop:
    """No more of them."""


def beating(timer: Timer[float]) -> Workflow[Beat, Tick | Stop, None, float]:
    """Return a machine whose timer sets itself again each time that it fires."""
    return Workflow(
        machine=Machine(
            name="beat",
            states=Beat,
            events=(Tick, Stop),
            initial=Beat.ON,
            final=(Beat.OFF,),
            transitions=(Transition(Beat.ON, Tick, Beat.ON), Transition(Beat.ON, Stop, Beat.OFF)),
            within=(Within(states=Beat.ON, timers=(timer,)),),
        ),
        data=float,
    )


@given(
    steps=st.lists(st.tuples(st.integers(0, 40), EVENTS), max_size=8),
    looks=st.sets(st.integers(0, 400)),
    grams=st.integers(0, 4),
)
def test_how_soon_somebody_looks_changes_nothing(
    steps: list[tuple[int, ParcelEvent]], looks: set[int], grams: int
) -> None:
    """Looked at every second, never, or at some seconds, an instance has the same history, entry by entry."""

    def history(seconds: set[int]) -> tuple[Kept[Parcel, Weight], list[Entry]]:
        begun = beginning(PARCEL, Weight(grams), None, event_id="0", by="", why="", now=0)
        kept, entries, now = begun.kept, list(begun.entries), 0
        for number, (wait, event) in enumerate([*steps, (80, Return())]):
            for second in range(now, now + wait):
                if second in seconds:
                    looked = advance(PARCEL, kept, None, now=second * SECOND)
                    kept = looked.kept
                    entries += looked.entries
            now += wait
            step = advance(PARCEL, kept, Occurrence(event, str(number)), now=now * SECOND)
            kept = step.kept
            entries += step.entries
        return kept, entries

    assert history(set()) == history(looks) == history(set(range(401)))


def test_a_timer_that_sets_itself_again_does_not_make_up_for_lost_time() -> None:
    """After a day of standing still it fires once, and its next time is counted from now."""
    workflow = beating(Timer(event=Tick(), after=1.0))
    begun = beginning(workflow, 0.0, None, event_id="0", by="", why="", now=0)
    step = advance(workflow, begun.kept, None, now=86_400 * SECOND)
    assert [(fired.due, fired.outcome) for fired in step.fired] == [(SECOND, Outcome.TAKEN)]
    assert step.kept.timers == {"Tick": 86_401 * SECOND}


def test_a_timer_does_not_set_itself_for_the_moment_at_which_it_fired() -> None:
    """One whose moment stands in the data fires once for it, not for ever."""
    workflow = beating(Timer(event=Tick(), at=lambda moment: moment))
    begun = beginning(workflow, 5.0, None, event_id="0", by="", why="", now=0)
    assert begun.kept.timers == {"Tick": 5 * SECOND}
    step = advance(workflow, begun.kept, None, now=9 * SECOND)
    assert (len(step.fired), step.kept.timers) == (1, {})


def test_a_timer_that_an_older_definition_had_is_dropped() -> None:
    """It neither fires nor stays due."""
    workflow = beating(Timer(event=Tick(), after=1.0))
    kept = Kept(state=Beat.ON, data=0.0, timers={"Gone": 1})
    step = advance(workflow, kept, None, now=SECOND)
    assert (step.entries, step.fired, step.kept.timers) == ((), (), {})
