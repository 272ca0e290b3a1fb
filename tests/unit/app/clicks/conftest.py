from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.app.clicks.doubles import Bench, crash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return a folder with a store; what is still locked at the end is let go."""
    bench = Bench(tmp_path / "journal")
    yield bench
    for journal in bench.journals:
        crash(journal)
