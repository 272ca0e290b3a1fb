"""docs/resilience-breaker.md: its example runs, its picture is the machine's."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from astra_core.fsm import to_mermaid
from astra_core.resilience.breaker import BreakerParameters
from astra_core.resilience.breaker_states import MACHINE

TEXT = (Path(__file__).parents[4] / "docs" / "resilience-breaker.md").read_text(encoding="utf-8")


def test_the_examples_run() -> None:
    """What they assert holds."""
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, "docs/resilience-breaker.md", "exec", dont_inherit=True), {"__name__": "example"})


def test_the_picture_is_the_machines_own() -> None:
    """The arrows that the breaker takes by itself, as the machine declares them; orders are named in the text."""
    by_order = re.compile(r" : (Open|HalfOpen|Close|ForceOpen|Disable|MetricsOnly)$|forced open|metrics only")
    own = "\n".join(line for line in to_mermaid(MACHINE).splitlines() if not by_order.search(line))
    assert f"```mermaid\n{own}\n```" in TEXT


def test_the_table_names_every_knob_and_its_default() -> None:
    """Each field of the parameters has a row."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", TEXT, re.MULTILINE))
    assert rows == {field.name: str(field.default) for field in dataclasses.fields(BreakerParameters)}
