"""The documentation of messages."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[4] / "docs" / "messaging.md"


def test_the_example_in_the_docs_runs() -> None:
    """The code of docs/messaging.md is complete, and what it asserts holds."""
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, str(DOCS), "exec", dont_inherit=True), {"__name__": "example"})
