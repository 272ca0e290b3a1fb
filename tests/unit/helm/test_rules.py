"""The rules: of metrics that exist, with runbooks that help, and firing when they should and only then."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.helm.queries import problems_of

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "helm" / "astra" / "rules"
RULES = [
    rule
    for file in ("recording.yaml", "alerts.yaml")
    for group in yaml.safe_load((FOLDER / file).read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = frozenset(rule["record"] for rule in RULES if "record" in rule)
PROMTOOL = shutil.which("promtool")
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_asks_for_what_is_exported(rule: dict[str, Any]) -> None:
    """Its series and labels are in the tables, or recorded by another rule."""
    assert problems_of(rule["expr"], recorded=RECORDED) == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """It pages or makes a ticket, says what happens, and leads to a runbook that has every section."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    page = (ROOT / rule["annotations"]["runbook_url"]).read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:4] == SECTIONS
    assert rule["alert"] in page


def test_every_runbook_is_led_to() -> None:
    """And stands in the list of all."""
    pages = {path.name for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README.md"}
    assert {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS} == pages
    index = (ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    assert all(f"({page})" in index for page in pages)
    assert all(rule["alert"] in index for rule in ALERTS)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian, Ubuntu: apt-get install prometheus)")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "recording.yaml", "alerts.yaml"],
        ["test", "rules", *sorted(str(path.relative_to(FOLDER)) for path in (FOLDER / "tests").glob("*.yaml"))],
    ],
    ids=["check", "test"],
)
def test_promtool_agrees(arguments: list[str]) -> None:
    """The rules are sound, and its unit tests of them pass."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    """The unit tests of promtool hold both for each alert and severity."""
    tests = [
        case
        for file in (FOLDER / "tests").glob("*.yaml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
    ]
    fires = {
        (case["alertname"], alert["exp_labels"]["severity"]) for case in tests for alert in case.get("exp_alerts") or ()
    }
    quiet = {case["alertname"] for case in tests if not case.get("exp_alerts")}
    assert fires == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}
    assert quiet == {rule["alert"] for rule in ALERTS}
