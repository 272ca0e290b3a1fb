"""Whatever happens to instances, stores and model agree, histories lead to records, and every transition is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from tests.unit.astra_core.workflow.modelling import FULL, hold_against_its_model
from tests.unit.astra_core.workflow.parcels import DOOR, PARCEL, Pay, Weight

if TYPE_CHECKING:
    from astra_core.workflow import Workflow

WORKFLOWS: dict[str, tuple[Workflow[Any, Any, Any, Any], st.SearchStrategy[Any], dict[type, Any]]] = {
    "parcel": (PARCEL, st.builds(Weight, st.integers(0, 4)), {Pay: st.builds(Pay, st.integers(0, 3))}),
    "door": (DOOR, st.none(), {}),
}


@pytest.mark.timeout(1_200 if FULL else 240)
@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_store_is_the_model(store: str, name: str) -> None:
    """Events, duplicates, concurrent senders, timers, restarts and relays: nothing is lost, doubled or out of order."""
    hold_against_its_model(store, *WORKFLOWS[name], examples=6 if store == "sqlite" else 12)
