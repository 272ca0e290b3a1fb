"""The statistics of the load tests."""

from __future__ import annotations

import pytest

from loadtests.ratios import paired, percentile, quartiles


def test_quartiles_lie_between_neighbours() -> None:
    """Quartiles are interpolated, so that few rounds still give a middle half."""
    found = quartiles([4.0, 1.0, 3.0, 2.0])
    assert (found.q1, found.median, found.q3, found.count) == (1.75, 2.5, 3.25, 4)


def test_one_value_is_its_own_quartiles() -> None:
    """A figure that was measured once has a median and no spread."""
    found = quartiles([7.0])
    assert (found.median, found.spread) == (7.0, 0.0)


def test_a_ratio_is_taken_within_a_round() -> None:
    """A machine that halves its speed for some rounds changes the costs and leaves the ratio alone."""
    found = paired([2.0, 4.0, 2.0], [1.0, 2.0, 1.0])
    assert (found.q1, found.median, found.q3) == (2.0, 2.0, 2.0)


def test_rounds_that_are_missing_are_an_error() -> None:
    """A ratio needs both halves of every pair."""
    with pytest.raises(ValueError, match="zip"):
        paired([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    """The nearest rank is the smallest value that the share of them does not exceed."""
    assert percentile(range(100, 0, -1), share) == value
