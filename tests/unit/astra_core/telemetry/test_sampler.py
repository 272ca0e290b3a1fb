"""A share by chance, and a bound by time."""

from __future__ import annotations

import random

import pytest

from astra_core.telemetry import TraceSampler
from astra_core.testing import FakeClock


def sampler(ratio: float, per_second: float = 1e9, *, clock: FakeClock | None = None, seed: int = 1) -> TraceSampler:
    """Return one with a chance that can be repeated."""
    chance = random.Random(seed).random
    return TraceSampler(ratio=ratio, per_second=per_second, clock=clock or FakeClock(), random=chance)


@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.3, 0.9])
def test_the_share_is_kept(ratio: float) -> None:
    """Of 200,000 requests as many are taken as the share says, within five standard deviations."""
    one, asked = sampler(ratio), 200_000
    taken = sum(one.by_chance() for _ in range(asked))
    assert abs(taken - ratio * asked) < 5 * (asked * ratio * (1 - ratio)) ** 0.5


def test_all_and_none() -> None:
    """Shares of 1 and 0 are exactly that."""
    assert all(sampler(1.0).by_chance() for _ in range(1_000))
    assert not any(sampler(0.0).by_chance() for _ in range(1_000))


def test_no_more_than_so_many_a_second() -> None:
    """A burst of as many, then as time goes by; what was one too many is counted."""
    clock = FakeClock()
    one = sampler(1.0, 10, clock=clock)
    assert sum(one.by_chance() for _ in range(100)) == 10
    clock.advance(0.5)
    assert sum(one.by_chance() for _ in range(100)) == 5
    clock.advance(60)
    assert sum(one.by_chance() for _ in range(100)) == 10
    assert (one.taken, one.limited) == (25, 275)


def test_new_parameters_count_at_once() -> None:
    """A share that was 0 does not keep its endless gap; a bound of 0 takes none."""
    one = sampler(0.0)
    one.configure(ratio=1.0, per_second=1e9)
    assert one.by_chance()
    one.configure(ratio=1.0, per_second=0)
    assert not one.by_chance()
