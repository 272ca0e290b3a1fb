"""docs/middleware.md: its examples run as they stand there, and it names every class."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from astra_core import middleware

TEXT = (Path(__file__).parents[4] / "docs" / "middleware.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (In \w+)\n\n```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize(("heading", "needs"), [("In Starlette", "starlette"), ("In FastAPI", "fastapi")])
def test_the_examples_run(heading: str, needs: str) -> None:
    """What they assert holds."""
    pytest.importorskip(needs)
    exec(compile(EXAMPLES[heading], "docs/middleware.md", "exec", dont_inherit=True), {"__name__": "example"})


def test_every_name_is_told_of() -> None:
    """But those of defaults."""
    defaults = {"client_left", "connection", "server_error"}
    assert {name for name in middleware.__all__ if f"`{name}" not in TEXT} == defaults
