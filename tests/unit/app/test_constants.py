"""docs/constants.md: which numbers stay in the code, each of them judged."""

from __future__ import annotations

import ast
import importlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| `([a-z_0-9.]+)` \| (.+) \|$", re.MULTILINE)
NUMBER = re.compile(r"`([A-Z_0-9]+)` ([0-9][0-9.]*)")
JUDGED = (
    *("asgi", "config", "middleware", "resilience", "telemetry", "workflow"),
    *("codes", "domain", "edge", "settings"),
)
"""Packages whose every number has its line."""


def listed() -> list[tuple[str, str, str]]:
    """Return module, name and value of each number on the page."""
    page = (ROOT / "docs" / "constants.md").read_text(encoding="utf-8")
    return [
        (module, name, value.rstrip(".")) for module, row in ROW.findall(page) for name, value in NUMBER.findall(row)
    ]


def numbers(file: Path) -> Iterator[str]:
    """Yield the constants of a module that are written as a number, or as a sum or product of some."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id.isupper() and _is_number(node.value):
                yield target.id


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def test_the_page_says_what_the_code_says() -> None:
    """Each number on it stands in its module, with that value."""
    assert len(listed()) > 80
    for module, name, value in listed():
        found = getattr(importlib.import_module(module), name)
        assert math.isclose(found, float(value)), (module, name, found)


@pytest.mark.parametrize("package", JUDGED)
def test_every_number_is_judged(package: str) -> None:
    """One that is new is a setting, or has its line on the page."""
    there = {(module, name) for module, name, _ in listed()}
    folder = next(ROOT / top / package for top in ("astra_core", "app") if (ROOT / top / package).is_dir())
    for file in folder.rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        assert {(module, name) for name in numbers(file)} <= there
