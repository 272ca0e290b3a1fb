"""docs/metrics.md lists what is exported; run this file as a program to write it anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.main.families import PRODUCT
from astra_core.telemetry import LIBRARY, Family

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
MARK = "<!-- The tables are made by `python -m tests.unit.helm.test_metrics_page`; a test keeps them current. -->\n"


def table(families: tuple[Family, ...]) -> Iterator[str]:
    """Return the rows of one table."""
    yield "| series | kind | labels | what it says |"
    yield "|---|---|---|---|"
    for family in families:
        series = ", ".join(f"`{sample}`" for sample in family.samples)
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"| {series} | {family.kind} | {labels} | {family.help} |"


def page() -> str:
    """Return the page: what people wrote, and the tables."""
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    lines = ["", "## The library's", "", *table(LIBRARY), "", "## The shortener's", "", *table(PRODUCT)]
    return written + MARK + "\n".join(lines) + "\n"


def test_the_page_is_current() -> None:
    """Its tables are those of the code."""
    assert PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    sys.exit(0 if PAGE.write_text(page(), encoding="utf-8") else 1)
