"""Whatever happens to imports, stores and model agree, histories lead to records, and every transition is taken."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from app.imports import LIFE, Fail, Format, Import, Take, Validated
from tests.unit.astra_core.workflow.modelling import FULL, hold_against_its_model

IMPORT = st.builds(
    Import,
    name=st.just("links.csv"),
    kind=st.sampled_from(Format),
    report=st.sampled_from(Format),
    size=st.just(1),
    base=st.just("https://s.example"),
    created_at=st.just(0),
    rows=st.none() | st.just(2),  # known from the start too: the shortest way to resume one that runs asks for it
)
EVENTS = {
    Take: st.builds(Take, st.integers(0, 2), st.booleans()),
    Validated: st.builds(Validated, st.integers(0, 2)),
    Fail: st.builds(Fail, st.sampled_from(["empty", "a folder"])),
}


@pytest.mark.timeout(1_200 if FULL else 240)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_store_of_imports_is_the_model(store: str) -> None:
    """Events, duplicates, senders at once, restarts and relays: nothing is lost, doubled or out of order."""
    hold_against_its_model(store, LIFE, IMPORT, EVENTS, examples=4)
