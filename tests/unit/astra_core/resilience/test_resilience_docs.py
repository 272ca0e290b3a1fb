"""docs/resilience.md and docs/resilience-policies.md: their examples run, their tables are those of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from astra_core.resilience import (
    DeadlineParameters,
    Gradient2Parameters,
    LimiterParameters,
    RetryBudgetParameters,
    RetryParameters,
    ThrottleParameters,
)

DOCS = Path(__file__).parents[4] / "docs"
POLICIES = (DOCS / "resilience-policies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["resilience.md", "resilience-policies.md"])
def test_the_examples_run(page: str) -> None:
    """What they assert holds."""
    examples = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, page, "exec", dont_inherit=True), {"__name__": "example"})


@pytest.mark.parametrize(
    "kind",
    [
        DeadlineParameters,
        RetryParameters,
        RetryBudgetParameters,
        LimiterParameters,
        Gradient2Parameters,
        ThrottleParameters,
    ],
)
def test_a_table_names_every_knob_and_its_default(kind: Any) -> None:
    """Each field of the parameters has a row, in order."""
    table = POLICIES.split(f"`{kind.__name__}`", 1)[1].split("\n\n")[1]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE)
    defaults = {name: str(value) for name, value in dataclasses.asdict(kind()).items()}
    if kind is RetryParameters:
        defaults["backoff"] = "`FullJitter()`"
    assert rows == list(defaults.items())
