from __future__ import annotations

from typing import Any

import pytest

from astra_core.errors import DefinitionError
from astra_core.fsm import Machine, Outcome, Timer, Transition, Unhandled, Within, begin, transition
from tests.unit.astra_core.fsm.machines import JOB, Finish, Job, Pause, Resume, Start, Tick


def test_entering_a_composite_goes_inwards_and_sets_its_timer() -> None:
    """The outer entry stands before the inner one; the timer left behind is cancelled, that of the composite set."""
    decision = transition(JOB, Job.WAITING, Start(), 1)
    assert decision.effects == ("lock", "spin up")
    assert [timer.name for timer in decision.timers] == ["Tick"]
    assert decision.cancelled == ("Start",)


def test_moving_inside_a_composite_leaves_it_alone() -> None:
    """Only the inner state is left: its exit, then the transition's effect; the composite's timer runs on."""
    decision = transition(JOB, Job.RUNNING, Pause(), 1)
    assert (decision.effects, decision.timers, decision.cancelled) == (("spin down", "tell"), (), ())


def test_leaving_a_composite_goes_outwards_and_cancels_its_timer() -> None:
    """The inner exit stands before the outer one."""
    decision = transition(JOB, Job.RUNNING, Finish(), 1)
    assert (decision.effects, decision.cancelled) == (("spin down", "unlock"), ("Tick",))


def test_a_loop_leaves_its_state_and_enters_it_again_but_not_the_composite() -> None:
    """A transition from a state to itself runs the state's exit and entry."""
    assert transition(JOB, Job.RUNNING, Start(), 1).effects == ("spin down", "spin up")


def test_a_timer_that_is_set_again_is_not_cancelled() -> None:
    """A loop restarts its timer: it is named among those to set, which replaces the old one, and nowhere else."""
    tick = Timer[Any](event=Tick(), after=1.0)
    machine = _machine(Within(states=Job.RUNNING, timers=(tick,)), first=Transition(Job.RUNNING, Start, Job.RUNNING))
    decision = transition(machine, Job.RUNNING, Start())
    assert (decision.timers, decision.cancelled) == ((tick,), ())


def test_what_is_not_taken_moves_no_timer() -> None:
    """A refused event names neither effects nor timers."""
    decision = transition(JOB, Job.PAUSED, Pause(), 1)
    assert (decision.outcome, decision.effects, decision.timers, decision.cancelled) == (Outcome.REFUSED, (), (), ())


def test_a_beginning_enters_its_state() -> None:
    """The first initial state is the default; another one brings its own entry, and a state that is none is refused."""
    assert [timer.name for timer in begin(JOB).timers] == ["Start"]
    assert begin(JOB, Job.PAUSED).effects == ("lock",)
    with pytest.raises(ValueError, match="job does not begin in done"):
        begin(JOB, Job.DONE)


def test_a_timer_is_due_after_a_while_or_at_the_subjects_time() -> None:
    """`after` counts from now; `at` reads the subject, which may have no such time."""
    assert Timer[None](event=Tick(), after=30.0).due(now=5.0, subject=None) == 35.0
    deadline = JOB.within[1].timers[0]
    assert deadline.due(now=5.0, subject=7.0) == 7.0
    assert deadline.due(now=5.0, subject=None) is None


def _machine(*within: Within[Any], first: Transition[Any, Any, Any], **changes: Any) -> Machine[Any, Any, None]:
    fields: dict[str, Any] = {
        "name": "job",
        "states": Job,
        "events": (Start, Pause, Resume, Finish, Tick),
        "initial": (Job.WAITING, Job.RUNNING, Job.PAUSED, Job.DONE, Job.FAILED),
        "final": (Job.DONE, Job.FAILED),
        "transitions": (
            first,
            Transition(Job.RUNNING, Tick, Job.DONE),
            Transition(Job.PAUSED, Tick, Job.DONE),
            Transition(Job.WAITING, Finish, Job.DONE),
            Transition(Job.RUNNING, Pause, Job.PAUSED),
            Transition(Job.PAUSED, Resume, Job.RUNNING),
        ),
        "within": within,
    }
    return Machine(**(fields | changes))


def _problems(*within: Within[Any], **changes: Any) -> tuple[str, ...]:
    first: Transition[Any, Any, None] = Transition(Job.WAITING, Start, Job.RUNNING)
    try:
        _machine(*within, **({"first": first} | changes))
    except DefinitionError as error:
        return error.problems
    return ()


TICK = Timer[Any](event=Tick(), after=1.0)
WAITING, RUNNING, PAUSED, DONE, FAILED = Job


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ((Within[Any](states="x"),), "state 'x' holds 'x', not a state of Job"),
        ((Within(states=(RUNNING, PAUSED)),), "the composite of running, paused has no name"),
        ((Within(states=RUNNING), Within(states=RUNNING)), "state running is declared twice"),
        (
            (Within(states=(RUNNING, PAUSED), name="a"), Within(states=(PAUSED, WAITING), name="b")),
            "composite a and composite b overlap, and neither holds the other",
        ),
        ((Within(states=WAITING, timers=(TICK,)),), "timer Tick fires in waiting, where no transition takes it"),
        ((Within(states=RUNNING, timers=(Timer[Any](event=Tick()),)),), "timer Tick needs either after or at"),
        (
            (Within(states=RUNNING, timers=(Timer[Any](event=Tick(), after=0.0),)),),
            "timer Tick has no time to wait: after is 0.0",
        ),
        (
            (Within(states=RUNNING, timers=(Timer[Any](event=7, after=1.0),)),),
            "timer int sends an event that is not declared",
        ),
        (
            (
                Within(states=RUNNING, timers=(TICK,)),
                Within(states=(RUNNING, PAUSED), name="live", timers=(TICK,)),
            ),
            "timer Tick is set by 2 states that may hold at once",
        ),
    ],
)
def test_each_mistake_in_a_stay_is_named(within: tuple[Within[Any], ...], expected: str) -> None:
    """What no runner could make sense of is refused when the machine is built."""
    assert expected in _problems(*within)


def test_states_apart_may_share_a_timer() -> None:
    """Two states that never hold at once may each set a timer of one name."""
    assert _problems(Within(states=RUNNING, timers=(TICK,)), Within(states=PAUSED, timers=(TICK,))) == ()


def test_a_state_that_leads_to_no_final_state_is_named() -> None:
    """Two states that only lead to each other are a trap in a machine that means to end."""
    arrows: tuple[Transition[Job, Any, None], ...] = (
        Transition(WAITING, Finish, DONE),
        Transition(WAITING, Start, RUNNING),
        Transition(RUNNING, Pause, PAUSED),
        Transition(PAUSED, Resume, RUNNING),
        Transition(WAITING, Tick, FAILED),
    )
    assert _problems(transitions=arrows) == (
        "state running leads to no final state",
        "state paused leads to no final state",
    )


def test_an_event_put_off_for_ever_is_named() -> None:
    """Under DEFER, an event that no later state takes would be kept until the end of days."""
    assert _problems(unhandled=Unhandled.DEFER) == (
        "state running defers Start for ever: no later state takes it",
        "state running defers Finish for ever: no later state takes it",
        "state paused defers Start for ever: no later state takes it",
        "state paused defers Finish for ever: no later state takes it",
    )


def test_a_final_state_defers_nothing() -> None:
    """Where nothing later can take it, an event that would be put off is refused, so that no caller keeps it."""
    machine: Machine[Job, Start | Finish | Tick, None] = Machine(
        name="job",
        states=Job,
        events=(Start, Finish, Tick),
        initial=(WAITING, PAUSED),
        final=(DONE, FAILED, PAUSED),
        transitions=(
            Transition(WAITING, Start, RUNNING),
            Transition(WAITING, Tick, FAILED),
            Transition(RUNNING, Start, RUNNING),
            Transition(RUNNING, Tick, FAILED),
            Transition(RUNNING, Finish, DONE),
        ),
        unhandled=Unhandled.DEFER,
    )
    assert transition(machine, WAITING, Finish()).outcome is Outcome.DEFERRED
    assert transition(machine, DONE, Finish()).outcome is Outcome.REFUSED
