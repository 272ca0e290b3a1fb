"""An import as a service shows it, for tests of what is made of that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.api.models import ImportView

if TYPE_CHECKING:
    from app.imports import Format, ImportState

__all__ = ["view"]


def view(state: ImportState, kind: Format, *, rows: int, done: int, rate: float | None) -> ImportView:
    """An import of a file of 100 bytes a row."""
    return ImportView(
        id="0" * 23,
        state=state,
        name="links",
        format=kind,
        report_format=kind,
        size=100 * rows,
        bytes_read=100 * done,
        rows=rows,
        done=done,
        created=done,
        reused=0,
        failed=0,
        rate=rate,
        reason=None,
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
        started_at=None,
        finished_at=None,
        report="/v1/imports/0/report",
    )
