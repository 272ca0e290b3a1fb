from __future__ import annotations

from pathlib import Path

import pytest

from app.imports import (
    FINAL,
    IMPORT,
    OPEN,
    Cancel,
    Fail,
    Finish,
    ImportEvent,
    ImportState,
    Pause,
    Resume,
    Take,
    Validated,
)
from astra_core.fsm import to_mermaid, transition

DOCS = Path(__file__).resolve().parents[4] / "docs" / "imports.md"


def test_the_diagram_in_the_docs_is_current() -> None:
    """docs/imports.md shows exactly the diagram that the declared machine draws."""
    assert f"```mermaid\n{to_mermaid(IMPORT)}\n```" in DOCS.read_text(encoding="utf-8")


def test_resuming_leads_back_to_where_the_import_had_come() -> None:
    """Before the look at the whole file, or behind it."""
    for validated, target in ((False, ImportState.UPLOADED), (True, ImportState.RUNNING)):
        assert transition(IMPORT, ImportState.PAUSED, Resume(), validated).target is target


@pytest.mark.parametrize("event", [Take(), Validated(1), Finish(), Fail("x"), Pause(), Resume(), Cancel()])
def test_what_is_over_stays_over(event: ImportEvent) -> None:
    """No event moves an import out of a final state."""
    for state in FINAL:
        assert not transition(IMPORT, state, event, True).accepted


def test_a_worker_may_take_what_is_open_and_nothing_else() -> None:
    """Taking is how one finds out that an import was paused or ended meanwhile."""
    taken = {state for state in ImportState if transition(IMPORT, state, Take(), True).accepted}
    assert taken == set(OPEN)
