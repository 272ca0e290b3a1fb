from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra_core.fsm import BrokenHistory, Hop, Outcome, Transition, hops, replay, shortest_paths
from astra_core.fsm.definition import Machine
from astra_core.resilience.breaker_states import MACHINE
from astra_core.testing.machines import Walk, walks
from tests.unit.astra_core.fsm.machines import JOB, Finish, Job, JobEvent, Pause, Resume, Start, Tick


def job_moves(hop: Hop[Job]) -> st.SearchStrategy[tuple[JobEvent, int]]:
    """Return events of the hop's type with small contexts."""
    if hop.transition.event is Finish:
        return st.tuples(st.builds(Finish, errors=st.integers(0, 3)), st.integers(0, 3))
    return st.tuples(st.builds(hop.transition.event), st.integers(0, 3))


def test_every_hop_has_a_path_that_ends_with_it() -> None:
    """A path starts in an initial state, each hop starts where the last one led, and the last one is the hop."""
    paths = shortest_paths(JOB)
    assert set(paths) == set(hops(JOB))
    for hop, path in paths.items():
        assert path[0].source in JOB.initials
        assert path[-1] == hop
        for one, following in itertools.pairwise(path):
            assert one.transition.target is following.source


def test_paths_are_the_shortest() -> None:
    """From a state that begins, one hop; finishing takes the start before it."""
    lengths = {(hop.source, hop.transition.event): len(path) for hop, path in shortest_paths(JOB).items()}
    assert lengths[Job.WAITING, Start] == lengths[Job.PAUSED, Resume] == 1
    assert lengths[Job.RUNNING, Finish] == 2


def test_a_short_way_wins_over_one_that_is_found_deeper() -> None:
    """Two ways lead to done, of two hops and of three; the path beyond it takes the shorter."""
    fork: Machine[Job, JobEvent, None] = Machine(
        name="fork",
        states=Job,
        events=(Start, Pause, Resume, Finish, Tick),
        initial=Job.WAITING,
        transitions=(
            Transition(Job.WAITING, Start, Job.RUNNING),
            Transition(Job.WAITING, Pause, Job.PAUSED),
            Transition(Job.RUNNING, Finish, Job.DONE),
            Transition(Job.PAUSED, Tick, Job.FAILED),
            Transition(Job.FAILED, Finish, Job.DONE),
            Transition(Job.DONE, Resume, Job.WAITING),
        ),
    )
    assert len(shortest_paths(fork)[hops(fork)[-1]]) == 3


def test_the_breaker_has_a_path_to_every_hop() -> None:
    """The walker copes with a real machine of loops and without an end."""
    assert len(shortest_paths(MACHINE)) == len(hops(MACHINE)) == 49


def test_walks_take_every_transition() -> None:
    """Between them, the generated walks make all hops of the machine, and replaying one leads to where it ended."""
    seen: set[Hop[Job]] = set()

    @settings(max_examples=400, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(walk=walks(JOB, job_moves))
    def collect(walk: Walk[Job, JobEvent, int]) -> None:
        seen.update(Hop(step.source, step.transition) for step in walk.decisions if step.transition is not None)
        events, contexts = [move.event for move in walk.moves], [move.context for move in walk.moves]
        assert all(step.outcome is Outcome.TAKEN for step in walk.decisions)
        assert replay(JOB, walk.initial, events, contexts) is walk.decisions[-1].target

    collect()
    assert seen == set(hops(JOB))


def test_a_history_with_an_event_never_taken_is_broken() -> None:
    """The error says which event, counted from 0, and in which state."""
    with pytest.raises(BrokenHistory, match="event 1, Pause, was never taken in paused") as caught:
        replay(JOB, Job.RUNNING, [Pause(), Pause()], [1, 1])
    assert (caught.value.place, caught.value.state) == (1, Job.PAUSED)


def test_a_history_needs_no_contexts_when_its_machine_reads_none() -> None:
    """Without events the state is the initial one; contexts that do not match the events are refused."""
    loop: Machine[Job, Start | Tick, None] = Machine(
        name="loop",
        states=Job,
        events=(Start, Tick),
        initial=tuple(Job),
        transitions=(Transition(Job.WAITING, Start, Job.RUNNING), Transition(tuple(Job)[1:], Tick, Job.WAITING)),
    )
    assert replay(loop, Job.WAITING, []) is Job.WAITING
    events: list[Start | Tick] = [Start(), Tick(), Start()]
    assert replay(loop, Job.WAITING, events) is Job.RUNNING
    with pytest.raises(ValueError, match="zip"):
        replay(JOB, Job.RUNNING, [Pause()], [])
