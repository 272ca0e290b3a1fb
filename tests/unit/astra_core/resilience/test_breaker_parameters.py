"""The knobs of a breaker: which are refused, and how long a pause they make."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from astra_core.resilience.breaker import BreakerParameters


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"failure_rate": 0.0}, "rates above 0"),
        ({"failure_rate": 50.0}, "rates above 0"),
        ({"slow_rate": 0.5}, "slow_after with slow_rate"),
        ({"slow_rate": 0.5, "slow_after": 0.0}, "slow_after above 0"),
        ({"failure_rate": None}, "a rule by which it opens"),
        ({"consecutive_failures": 0}, "consecutive_failures of 1 or more"),
        ({"probes": 0}, "whole numbers of 1 or more"),
        ({"window_calls": 5}, "minimum_calls within the window"),
        ({"window_seconds": 0.0}, "window_seconds above 0"),
        ({"open_for": -1.0}, "open_for and open_cap"),
        ({"open_for": inf}, "open_for and open_cap"),
        ({"open_multiplier": 0.5}, "open_multiplier of 1 or more"),
        ({"open_jitter": 1.0}, "open_jitter from 0"),
        ({"probe_wait": 0.0}, "probe_wait above 0"),
        ({"ramp": -1.0}, "ramp of 0 or more"),
        ({"ramp_start": 0.0}, "ramp_start above 0"),
    ],
)
def test_nonsense_is_refused_with_its_reason(wrong: dict[str, Any], says: str) -> None:
    """When it is made, not when the first call fails."""
    with pytest.raises(ValueError, match=says):
        BreakerParameters(**wrong)


def test_pauses_grow_to_the_cap_and_jitter_shortens_them() -> None:
    """A thousand openings in a row do not overflow."""
    parameters = BreakerParameters(open_for=5.0, open_multiplier=3.0, open_cap=60.0, open_jitter=0.2)
    assert [parameters.open_duration(n, 0.0) for n in (1, 2, 3, 4, 10_000)] == [5.0, 15.0, 45.0, 60.0, 60.0]
    assert parameters.open_duration(4, 0.5) == pytest.approx(54.0)


def test_a_first_pause_longer_than_the_cap_holds() -> None:
    """aiobreaker's `timeout_duration` may be set to anything."""
    assert BreakerParameters(open_for=90.0, open_cap=60.0).open_duration(3, 0.0) == 90.0
