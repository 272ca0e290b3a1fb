"""A thousand clients meet a dependency that is down for half a minute: policies keep load and outage small."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.integration.resilience.picture import draw
from tests.integration.resilience.simulation import SCENARIOS, Outcome, Setting, simulate, table

GUARDED = "retries + budget + breaker"


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Every scenario, once."""
    return {name: simulate(build, Setting()) for name, build in SCENARIOS.items()}


def test_retries_alone_multiply_the_load_and_the_policies_do_not(outcomes: dict[str, Outcome]) -> None:
    """Alone they make three calls of one while it is down; with budget and breaker a small part of them is left."""
    print(table(outcomes))
    bare, retries, guarded = (outcomes[name].while_down() for name in ("no policy", "retries alone", GUARDED))
    assert retries > 2.5 * bare
    assert guarded < bare / 10
    assert outcomes["retries alone"].peak() > 2.5


def test_no_second_brings_more_than_a_third_over_the_healthy_rate(outcomes: dict[str, Outcome]) -> None:
    """At most 1.3 times it in any one second, wherever that begins: at the failure, the probes and the return."""
    assert outcomes[GUARDED].peak() <= 1.3


def test_service_is_whole_within_twice_the_open_duration(outcomes: dict[str, Outcome]) -> None:
    """Wait, probes and ramp together, in every process; and then the load is the healthy one."""
    for name in (GUARDED, "the same, budget over 10 s"):
        outcome = outcomes[name]
        assert min(outcome.open_for) > 0
        for took, pause in zip(outcome.recovered_after(), outcome.open_for, strict=True):
            assert took <= 2 * pause
        assert sum(outcome.rates()[-10:]) == pytest.approx(10 * outcome.setting.rate, rel=0.02)


def test_the_same_seed_gives_the_same_run() -> None:
    """The figures in the documentation can be made again."""
    setting = Setting(clients=100, returns_at=20.0, ends_at=30.0)
    one, other = (simulate(SCENARIOS[GUARDED], setting) for _ in range(2))
    assert one.calls == other.calls


def test_the_picture_is_an_svg_of_three_lines(outcomes: dict[str, Outcome]) -> None:
    """It can be parsed, and every line stays inside it."""
    picture = ElementTree.fromstring(draw(outcomes))
    lines = picture.findall("{*}polyline")
    assert len(lines) == 3
    points = [point.split(",") for line in lines for point in (line.get("points") or "").split()]
    assert all(0 <= float(x) <= 980 and 0 <= float(y) <= 400 for x, y in points)
