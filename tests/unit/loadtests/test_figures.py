"""The report at the end of a load test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loadtests.figures import Figure, Report, at_least, at_most

if TYPE_CHECKING:
    from loadtests.figures import Bar


@pytest.mark.parametrize(
    ("bar", "value", "holds"),
    [(at_most(2), 2, True), (at_most(2), 2.1, False), (at_least(2), 2, True), (at_least(2), 1.9, False)],
)
def test_a_bar_includes_its_limit(bar: Bar, value: float, holds: bool) -> None:
    """The limit itself is on the right side of either kind of bar."""
    assert Figure.single("cost", "us", value, bar).holds is holds


def test_the_exit_code_says_whether_every_bar_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """A missed bar is exit code 1, and a figure without a bar cannot miss one."""
    free, held = Figure.single("free", "us", 9.0), Figure.single("held", "us", 1.0, at_most(1))
    missed = Figure.single("missed", "us", 2.0, at_most(1))
    assert Report("test", {}, [free, held]).emit() == 0
    assert Report("test", {}, [free, held, missed]).emit() == 1
    assert "missed: 2 us, bar <= 1: MISSED" in capsys.readouterr().err


def test_a_fault_spoils_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong answer or a lost click fails the run, whatever the figures say."""
    report = Report("test", {}, [Figure.single("held", "us", 1.0, at_most(1))], faults=["a click was lost"])
    assert report.emit() == 1
    assert "FAULT: a click was lost" in capsys.readouterr().err


def test_stdout_is_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines for people go to stderr, so that stdout can be read by a program."""
    Report("test", {"rounds": 1}, [Figure.single("held", "us", 1.0, at_most(1))]).emit()
    printed = json.loads(capsys.readouterr().out)
    assert printed["figures"]["held"] == {"unit": "us", "median": 1.0, "n": 1, "bar": "<= 1", "holds": True}
