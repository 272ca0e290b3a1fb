"""The documentation of workflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[4] / "docs" / "workflow.md"


def test_the_examples_in_the_docs_run() -> None:
    """Each goes on where the one before it ended, and what they assert holds."""
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    names: dict[str, Any] = {"__name__": "example"}
    for example in examples:
        exec(compile(example, str(DOCS), "exec", dont_inherit=True), names)


def test_a_workflow_of_ones_own_takes_40_lines() -> None:
    """The first example is a whole program: machine, store, events, history."""
    example = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 40
