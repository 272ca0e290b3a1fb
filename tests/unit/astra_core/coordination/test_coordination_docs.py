"""The documentation of coordination and slots."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[4] / "docs" / "coordination.md"


def test_the_examples_in_the_docs_run() -> None:
    """The code of docs/coordination.md is complete, and what it asserts holds."""
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, str(DOCS), "exec", dont_inherit=True), {"__name__": "example"})
