"""Sliding windows: what they hold, what they forget, and that their running totals are the true ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from astra_core.resilience.window import BUCKETS, Counts, CountWindow, Outcome, TimeWindow

OUTCOMES = st.sampled_from([Outcome.GOOD, Outcome.FAILED, Outcome.SLOW, Outcome.FAILED | Outcome.SLOW])


def counts_of(outcomes: list[int]) -> Counts:
    """The totals of a plain list."""
    return Counts(len(outcomes), sum(o & 1 for o in outcomes), sum(o >> 1 for o in outcomes))


def test_a_count_window_holds_the_last_calls_only() -> None:
    """The call that comes when it is full takes the place of the oldest."""
    window = CountWindow(3)
    for outcome in (Outcome.FAILED, Outcome.GOOD, Outcome.SLOW):
        window.record(0.0, outcome)
    assert window.counts(0.0) == Counts(3, 1, 1)
    window.record(0.0, Outcome.GOOD)
    assert window.counts(0.0) == Counts(3, 0, 1)


def test_a_time_window_forgets_calls_by_tenths() -> None:
    """A call is remembered through the nine parts after its own, and then it is gone; reading changes nothing."""
    window = TimeWindow(10.0)
    window.record(100.9, Outcome.FAILED)
    window.record(105.0, Outcome.GOOD)
    assert window.counts(109.9) == Counts(2, 1, 0)
    assert window.counts(110.0) == Counts(1, 0, 0)
    assert window.counts(109.9) == Counts(2, 1, 0)
    assert window.counts(1e6) == Counts()


def test_rates_are_shares_and_nothing_divides_by_zero() -> None:
    """An empty window has rates of 0."""
    assert (Counts().failure_rate, Counts().slow_rate) == (0.0, 0.0)
    assert (Counts(4, 1, 2).failure_rate, Counts(4, 1, 2).slow_rate) == (0.25, 0.5)


def test_clearing_forgets_everything() -> None:
    """A cleared window is as a new one."""
    for window in (CountWindow(2), TimeWindow(10.0)):
        window.record(100.0, Outcome.FAILED | Outcome.SLOW)
        window.clear()
        assert window.counts(100.0) == Counts()
        window.record(100.0, Outcome.GOOD)
        assert (window.calls, window.failures, window.slow) == (1, 0, 0)


@given(st.integers(1, 8), st.lists(OUTCOMES, max_size=40))
def test_the_totals_of_a_count_window_are_those_of_the_last_calls(size: int, outcomes: list[int]) -> None:
    """After every call the running totals equal a recount of the tail of the list."""
    window = CountWindow(size)
    for end, outcome in enumerate(outcomes, 1):
        window.record(0.0, outcome)
        expected = counts_of(outcomes[:end][-size:])
        assert window.counts(0.0) == expected == Counts(window.calls, window.failures, window.slow)


@given(st.lists(st.tuples(st.integers(0, 60), OUTCOMES), max_size=60))
def test_the_totals_of_a_time_window_are_those_of_the_parts_that_are_not_over(steps: list[tuple[int, int]]) -> None:
    """After every call, at any distance in quarters of a part, the running totals equal a recount by part."""
    window, now, calls = TimeWindow(float(BUCKETS)), 1000.0, list[tuple[int, int]]()
    for quarters, outcome in steps:
        now += quarters / 4
        window.record(now, outcome)
        calls.append((int(now), outcome))
        expected = counts_of([o for part, o in calls if part > int(now) - BUCKETS])
        assert window.counts(now) == expected == Counts(window.calls, window.failures, window.slow)
