from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from astra_core.fsm import Machine, to_mermaid

DOCS = Path(__file__).parents[4] / "docs" / "fsm.md"


def test_the_example_in_the_docs_runs() -> None:
    """The code of docs/fsm.md is complete, and what it asserts holds."""
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, str(DOCS), "exec", dont_inherit=True), {"__name__": "example"})


def test_the_pictures_of_the_examples_are_current() -> None:
    """Each picture but that of the link's life, which its own test holds, is drawn by the machine above it."""
    text = DOCS.read_text(encoding="utf-8")
    pairs = re.findall(
        r"```python\n((?:(?!```).)*)```\n\nThis is what it draws:\n\n```mermaid\n(.*?)\n```", text, re.DOTALL
    )
    assert pairs
    for example, picture in pairs:
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(example, str(DOCS), "exec", dont_inherit=True), names)
        drawn = [to_mermaid(value) for value in names.values() if isinstance(value, Machine)]
        assert drawn == [picture]
