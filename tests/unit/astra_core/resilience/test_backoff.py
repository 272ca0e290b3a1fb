"""Backoff: bounds, growth and spread of the waits."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.resilience.backoff import Backoff, Constant, DecorrelatedJitter, EqualJitter, FullJitter

KINDS = (FullJitter, EqualJitter, DecorrelatedJitter)


@given(
    kind=st.sampled_from(KINDS),
    base=st.floats(0.001, 1),
    cap=st.floats(1, 100),
    multiplier=st.floats(1, 10),
    seed=st.integers(0, 99),
)
def test_no_wait_is_negative_or_over_the_cap(
    kind: type[FullJitter], base: float, cap: float, multiplier: float, seed: int
) -> None:
    """Whatever the retry, ten thousandth included, a wait lies between 0 and the cap."""
    backoff, random, previous = kind(base=base, cap=cap, multiplier=multiplier), Random(seed), 0.0
    for retry in (1, 2, 3, 10, 100, 10_000):
        previous = backoff.delay(retry, previous, random)
        assert 0.0 <= previous <= cap


def drawn(backoff: Backoff, retry: int, previous: float = 0.0) -> list[float]:
    """Two thousand waits before the same retry."""
    random = Random(7)
    return [backoff.delay(retry, previous, random) for _ in range(2_000)]


def test_full_jitter_spreads_over_the_whole_of_a_growing_ceiling() -> None:
    """The first waits fill 0 to base, the third 0 to four times that, evenly."""
    for retry, ceiling in ((1, 0.1), (3, 0.4), (20, 10.0)):
        waits = drawn(FullJitter(base=0.1, cap=10.0), retry)
        assert min(waits) < 0.01 * ceiling
        assert 0.99 * ceiling < max(waits) <= ceiling
        assert sum(waits) / len(waits) == pytest.approx(ceiling / 2, rel=0.05)


def test_equal_jitter_never_waits_less_than_half() -> None:
    """Half of the ceiling is certain, the other half is spread."""
    waits = drawn(EqualJitter(base=0.1, cap=10.0), 3)
    assert 0.2 <= min(waits) < 0.21
    assert 0.39 < max(waits) <= 0.4


def test_decorrelated_jitter_grows_from_the_wait_before() -> None:
    """Each wait lies between base and three times the last, whichever retry it is."""
    backoff = DecorrelatedJitter(base=0.1, cap=10.0)
    assert set(drawn(backoff, 1)) == {0.1}
    waits = drawn(backoff, 2, previous=1.0)
    assert 0.1 <= min(waits) < 0.15
    assert 2.9 < max(waits) <= 3.0
    assert max(drawn(backoff, 9, previous=8.0)) == 10.0


def test_a_constant_wait_is_constant_but_for_its_jitter() -> None:
    """Without jitter it is the same each time; with ten per cent it is within them."""
    assert set(drawn(Constant(2.0), 5)) == {2.0}
    waits = drawn(Constant(2.0, jitter=0.1), 5)
    assert 1.8 <= min(waits) < 1.81
    assert 2.19 < max(waits) <= 2.2


def test_knobs_that_make_no_backoff_are_refused() -> None:
    """A base of 0 or above the cap, a shrinking multiplier, a negative wait."""
    for kind in KINDS:
        for knobs in ({"base": 0.0}, {"base": 2.0, "cap": 1.0}, {"multiplier": 0.5}):
            with pytest.raises(ValueError, match="backoff"):
                kind(**knobs)
    with pytest.raises(ValueError, match="constant"):
        Constant(-1.0)
    with pytest.raises(ValueError, match="constant"):
        Constant(1.0, jitter=2.0)
