"""The dashboards: current, sound by the rules of Grafana's dashboard-linter, and of metrics that exist."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.helm.queries import EXPORTED, problems_of, selectors

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "helm" / "astra" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))
LINTER = shutil.which("dashboard-linter")


def built() -> dict[str, str]:
    """Return what the code makes, by file name."""
    spec = importlib.util.spec_from_file_location("helm_dashboards", ROOT / "helm" / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["helm_dashboards"] = module
    spec.loader.exec_module(module)
    return {one.uid.removeprefix("astra-") + ".json": module.rendered(one) for one in module.DASHBOARDS}


def panels(file: Path) -> list[dict[str, Any]]:
    """Return the panels of a dashboard but its rows."""
    return [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_code_makes() -> None:
    """After a change of helm/dashboards.py run it."""
    assert {file.name: file.read_text(encoding="utf-8") for file in FILES} == built()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_expression_asks_for_what_is_exported(file: Path) -> None:
    """It parses, its series and labels are in the tables, counters are rated and gauges are not."""
    for panel in panels(file):
        for target in panel["targets"]:
            assert problems_of(target["expr"]) == [], (panel["title"], target["expr"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_rules_of_the_linter_hold(file: Path) -> None:
    """The rules of github.com/grafana/dashboard-linter, by their names there."""
    board = json.loads(file.read_text())
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert board["editable"] is False  # uneditable-dashboard
    assert [one["name"] for one in variables.values() if one["type"] == "datasource"] == ["datasource"]
    assert variables["datasource"]["query"] == "prometheus"  # template-datasource-rule
    assert variables["datasource"]["label"] == "Data source"
    for name in ("job", "instance"):  # template-job-rule, template-instance-rule, template-label-promql-rule
        one = variables[name]
        assert (one["type"], one["multi"], one["allValue"], one["label"].lower()) == ("query", True, ".+", name)
        assert one["datasource"]["uid"] == "${datasource}"
        assert one["refresh"] == 2  # template-on-time-change-reload-rule
        metric = one["query"].removeprefix("label_values(").partition("{")[0].partition(",")[0]
        assert metric in EXPORTED
    for panel in panels(file):
        assert panel["title"]  # panel-title-description-rule
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"  # panel-datasource-rule
        assert panel["fieldConfig"]["defaults"]["unit"]  # panel-units-rule
        assert panel["targets"]  # panel-no-targets-rule
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            text = target["expr"]
            for selector in selectors(text):  # target-job-rule, target-instance-rule, target-counter-agg-rule
                assert {"job", "instance"} <= selector.labels, text
            assert text.count('job=~"$job"') == text.count('instance=~"$instance"') == len(selectors(text))
            assert text.count("rate(") == text.count("[$__rate_interval]")  # target-rate-interval-rule
            assert " by (instance" not in text  # target-counter-agg-rule: sums over instances


@pytest.mark.skipif(LINTER is None, reason="dashboard-linter is not installed (go install github.com/grafana/…)")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_linter_itself_agrees(file: Path) -> None:
    """Not one of its rules is broken, at its strictest."""
    assert LINTER is not None
    done = subprocess.run([LINTER, "lint", "--strict", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_lie_side_by_side(file: Path) -> None:
    """Within the grid of 24, none on another, each with a number of its own."""
    board = json.loads(file.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert taken.isdisjoint(cells)
        taken |= cells
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_every_metric_has_its_place() -> None:
    """What is exported is looked at somewhere: on a dashboard or in a rule."""
    shown = {
        selector.metric
        for file in FILES
        for panel in panels(file)
        for t in panel["targets"]
        for selector in selectors(t["expr"])
    }
    rules = "".join(file.read_text() for file in (ROOT / "helm" / "astra" / "rules").glob("*.yaml"))
    unseen = {
        family.name
        for family in set(EXPORTED.values())
        if not any(sample in shown or sample in rules for sample in family.samples)
    }
    assert unseen == {
        "astra_hedges",
        "astra_throttled",
        "astra_metrics_series_refused",
    }  # policies the shortener has not
