from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.lifecycle import (
    LIFE,
    LIFECYCLE,
    Delete,
    Disable,
    Edit,
    Enable,
    Exhaust,
    Expire,
    LinkEvent,
    Restore,
    Standing,
    Start,
    apply,
    balance_after,
)
from app.domain.links import BaseState, Link, LinkState, due_state, state_of
from astra_core.fsm import Decision, Hop, hops, replay, to_mermaid, transition
from astra_core.testing.machines import Walk, walks

DOCS = Path(__file__).parents[4] / "docs" / "fsm.md"
EVENTS: tuple[LinkEvent, ...] = (Start(), Expire(), Exhaust(), Disable(), Enable(), Delete())
PEOPLES: tuple[LinkEvent, ...] = (Disable(), Enable(), Delete())
LIVE = [state for state in LinkState if state is not LinkState.DELETED]

links = st.builds(
    Link,
    code=st.just("abc"),
    url=st.just("https://example.com/"),
    created_at=st.just(0),
    updated_at=st.just(0),
    starts_at=st.none() | st.integers(0, 5),
    expires_at=st.none() | st.integers(0, 5),
    base=st.sampled_from(BaseState),
)
moments = st.integers(0, 6)
balances = st.none() | st.integers(0, 1)


def decide(link: Link, event: LinkEvent, *, now: int, remaining: int | None) -> Decision[LinkState, LinkEvent]:
    """Decide what `event` does to the link as it stands at `now`."""
    return transition(LIFECYCLE, state_of(link, now, remaining), event, due_state(link, now, remaining))


@given(link=links, now=moments, remaining=balances, event=st.sampled_from(PEOPLES))
def test_the_stored_link_is_in_the_state_that_was_decided(
    link: Link, now: int, remaining: int | None, event: LinkEvent
) -> None:
    """Whatever the times and limits: after an accepted event the record shows the target, else it is unchanged."""
    decision = decide(link, event, now=now, remaining=remaining)
    after = apply(link, decision, now=now)
    assert state_of(after, now, remaining) is decision.target
    if decision.accepted:
        assert after.updated_at == now
    else:
        assert after is link


@given(link=links, now=moments, remaining=balances)
def test_a_disabled_link_wakes_where_it_would_stand(link: Link, now: int, remaining: int | None) -> None:
    """Disabling a live link and enabling it later gives the state it would have had without either."""
    before = state_of(link, now, remaining)
    if before in (LinkState.DELETED, LinkState.DISABLED):
        return
    disabled = apply(link, decide(link, Disable(), now=now, remaining=remaining), now=now)
    enabling = decide(disabled, Enable(), now=now, remaining=remaining)
    assert enabling.source is LinkState.DISABLED
    assert enabling.target is before


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("due", [LinkState.SCHEDULED, LinkState.ACTIVE, LinkState.EXPIRED, LinkState.EXHAUSTED])
def test_every_live_link_can_be_deleted(state: LinkState, due: LinkState) -> None:
    """Delete leads to deleted from every other state."""
    assert transition(LIFECYCLE, state, Delete(), due).target is LinkState.DELETED


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("due", list(LinkState))
def test_nothing_happens_to_a_deleted_link(event: LinkEvent, due: LinkState) -> None:
    """Every event on a deleted link is refused, with the reason."""
    decision = transition(LIFECYCLE, LinkState.DELETED, event, due)
    assert not decision.accepted
    assert decision.reason == f"link is deleted: {type(event).__name__} does not apply"


@given(link=links, now=moments, remaining=balances)
def test_a_restored_link_wakes_where_it_would_stand(link: Link, now: int, remaining: int | None) -> None:
    """Whatever it was before it was deleted, disabled included: times and limits alone decide."""
    deleted = replace(link, base=BaseState.DELETED)
    decision = decide(deleted, Restore(), now=now, remaining=remaining)
    assert decision.accepted
    assert decision.target is due_state(link, now, remaining)
    assert apply(deleted, decision, now=now).base is BaseState.ACTIVE


@pytest.mark.parametrize("state", LIVE)
def test_only_a_deleted_link_is_restored(state: LinkState) -> None:
    """The API answers 409 to the rest."""
    assert not transition(LIFECYCLE, state, Restore(), LinkState.ACTIVE).accepted


@pytest.mark.parametrize("state", [state for state in LIVE if state is not LinkState.DISABLED])
@pytest.mark.parametrize("due", [LinkState.SCHEDULED, LinkState.ACTIVE, LinkState.EXPIRED, LinkState.EXHAUSTED])
def test_an_edit_leads_to_what_is_due_then(state: LinkState, due: LinkState) -> None:
    """New times and limits may wake a link that is over, or end one that runs, whatever is due before."""
    assert transition(LIFECYCLE, state, Edit(due=due), state).target is due
    assert transition(LIFECYCLE, LinkState.DISABLED, Edit(due=due), state).target is LinkState.DISABLED


def test_what_is_told_of_an_edit_is_not_the_link() -> None:
    """Its names and where it leads are told; the record that it makes, with its URL, is not."""
    edit = Edit(due=LinkState.ACTIVE, members=("url",), link=Link(code="abc", url="x", created_at=0, updated_at=0))
    assert LIFE.told(edit) == Edit(due=LinkState.ACTIVE, members=("url",))
    assert LIFE.told(Delete()) == Delete()


@pytest.mark.parametrize(
    ("was", "wanted", "balance", "after"),
    [(None, 3, 7, 3), (3, None, 2, 2), (3, 5, 2, 4), (3, 1, 2, 0), (5, 1, 2, -2), (3, 3, 2, 2), (None, None, 9, 9)],
)
def test_a_changed_limit_moves_the_balance(was: int | None, wanted: int | None, balance: int, after: int) -> None:
    """A new limit is whole, whatever an older one had left; a changed one keeps what was used."""
    link = Link(code="abc", url="https://example.com/", created_at=0, updated_at=0, max_visits=was)
    assert balance_after(Standing(link, 1, balance, 0), replace(link, max_visits=wanted)) == after


@pytest.mark.parametrize("state", [state for state in LIVE if state is not LinkState.DISABLED])
def test_only_a_disabled_link_is_enabled_and_it_is_not_disabled_twice(state: LinkState) -> None:
    """Enable needs disabled, disable needs anything else: the API answers 409 to these."""
    assert not transition(LIFECYCLE, state, Enable(), LinkState.ACTIVE).accepted
    assert transition(LIFECYCLE, state, Disable(), LinkState.ACTIVE).target is LinkState.DISABLED
    assert not transition(LIFECYCLE, LinkState.DISABLED, Disable(), state).accepted


@pytest.mark.parametrize(
    ("state", "event", "due", "target"),
    [
        (LinkState.SCHEDULED, Start(), LinkState.ACTIVE, LinkState.ACTIVE),
        (LinkState.SCHEDULED, Start(), LinkState.SCHEDULED, LinkState.SCHEDULED),
        (LinkState.SCHEDULED, Start(), LinkState.EXPIRED, LinkState.SCHEDULED),
        (LinkState.SCHEDULED, Expire(), LinkState.EXPIRED, LinkState.EXPIRED),
        (LinkState.ACTIVE, Expire(), LinkState.EXPIRED, LinkState.EXPIRED),
        (LinkState.ACTIVE, Expire(), LinkState.ACTIVE, LinkState.ACTIVE),
        (LinkState.EXPIRED, Expire(), LinkState.EXPIRED, LinkState.EXPIRED),
        (LinkState.ACTIVE, Exhaust(), LinkState.EXHAUSTED, LinkState.EXHAUSTED),
        (LinkState.ACTIVE, Exhaust(), LinkState.ACTIVE, LinkState.ACTIVE),
        (LinkState.DISABLED, Expire(), LinkState.EXPIRED, LinkState.DISABLED),
    ],
)
def test_timers_move_a_link_only_when_the_times_say_so(
    state: LinkState, event: LinkEvent, due: LinkState, target: LinkState
) -> None:
    """A timer that is early, late, doubled or meets a disabled link leaves the state as it is."""
    assert transition(LIFECYCLE, state, event, due).target is target


def test_the_diagram_in_the_docs_is_current() -> None:
    """docs/fsm.md shows exactly the diagram that the declared lifecycle draws."""
    assert f"```mermaid\n{to_mermaid(LIFECYCLE)}\n```" in DOCS.read_text(encoding="utf-8")


def _moves(hop: Hop[LinkState]) -> st.SearchStrategy[tuple[LinkEvent, LinkState]]:
    return st.tuples(st.builds(hop.transition.event), st.sampled_from(LinkState))


def test_a_life_takes_every_transition_and_can_be_replayed() -> None:
    """Lives generated from the machine itself cover all of it, and their events lead again to where they ended."""
    seen: set[Hop[LinkState]] = set()

    @settings(max_examples=300, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(walk=walks(LIFECYCLE, _moves, further=2))
    def live(walk: Walk[LinkState, LinkEvent, LinkState]) -> None:
        seen.update(Hop(step.source, step.transition) for step in walk.decisions if step.transition is not None)
        events, due = [move.event for move in walk.moves], [move.context for move in walk.moves]
        assert replay(LIFECYCLE, walk.initial, events, due) is walk.decisions[-1].target

    live()
    assert seen == set(hops(LIFECYCLE))
