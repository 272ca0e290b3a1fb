"""Runs of wrk with what they took of the server."""

from __future__ import annotations

from loadtests.runs import Run, disturbances, figures_of
from loadtests.wrk import WrkResult

RESULT = WrkResult(requests=1_000, seconds=2.0, refused=0, broken=0, p50=0.001, p99=0.002, longest=0.003)


def test_cost_is_by_request_and_busy_by_second() -> None:
    """The same processor time is a cost of each request and a share of the core."""
    run = Run(RESULT, server_cpu=1.0)
    assert (run.cost, run.busy) == (0.001, 0.5)
    assert {figure.name: figure.value.median for figure in figures_of("ours", [run])} == {
        "ours.rate": 500.0,
        "ours.cpu": 1000.0,
        "ours.busy": 0.5,
        "ours.p50": 1.0,
        "ours.p99": 2.0,
    }


def test_a_server_held_up_is_told() -> None:
    """A rate that something other than the server limited is marked, and only that one."""
    (note,) = disturbances({"ours": [Run(RESULT, 1.9)], "bare": [Run(RESULT, 1.0)]})
    assert note.startswith("bare used only 50% of its core")
