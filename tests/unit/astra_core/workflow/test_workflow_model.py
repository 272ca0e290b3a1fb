"""Whatever happens to instances, stores and model agree, histories lead to records, and every transition is taken."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from astra_core.fsm import hops
from astra_core.storage import MemoryStore
from astra_core.testing.workflows import model_of
from tests.unit.astra_core.workflow.parcels import DOOR, PARCEL, Pay, Weight, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from astra_core.storage import Record, Write
    from astra_core.testing.workflows import Opener
    from astra_core.workflow import Workflow
    from astra_core.workflow.runner import StoreWithHistory

FULL = bool(os.environ.get("ASTRA_TEST_FULL"))
WORKFLOWS: dict[str, tuple[Workflow[Any, Any, Any, Any], st.SearchStrategy[Any], dict[type, Any]]] = {
    "parcel": (PARCEL, st.builds(Weight, st.integers(0, 4)), {Pay: st.builds(Pay, st.integers(0, 3))}),
    "door": (DOOR, st.none(), {}),
}


class Yielding(MemoryStore):
    """A store in memory that lets others run before each call, as a real one does; it keeps what it holds."""

    async def get(self, collection: str, key: str) -> Record | None:
        """Read, later."""
        await asyncio.sleep(0)
        return await super().get(collection, key)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Write, later."""
        await asyncio.sleep(0)
        return await super().commit(writes)


def memory(workflow: Workflow[Any, Any, Any, Any], root: Path) -> Callable[[], Opener]:
    """Return what makes one store an example."""

    def example() -> Opener:
        store = Yielding(collections=workflow.collections)

        @asynccontextmanager
        async def opened() -> AsyncIterator[StoreWithHistory]:
            async with store:
                yield store

        return opened

    return example


def sqlite(workflow: Workflow[Any, Any, Any, Any], root: Path) -> Callable[[], Opener]:
    """Return what makes one file an example."""
    numbers = itertools.count()

    def example() -> Opener:
        folder = root / str(next(numbers))
        folder.mkdir()
        return lambda: open_store("sqlite", folder, workflow.collections)

    return example


@pytest.mark.timeout(1_200 if FULL else 240)
@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("store", [memory, sqlite])
def test_a_store_is_the_model(store: Callable[..., Callable[[], Opener]], name: str) -> None:
    """Events, duplicates, concurrent senders, timers, restarts and relays: nothing is lost, doubled or out of order."""
    workflow, data, events = WORKFLOWS[name]
    examples = 30 if store is sqlite else 60
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(workflow, data=data, events=events, opener=store(workflow, Path(folder)))
        run_state_machine_as_test(
            model,
            settings=settings(
                max_examples=examples * 10 if FULL else examples,
                stateful_step_count=50,
                deadline=None,
                database=None,
                derandomize=True,
                phases=(Phase.generate,),  # to shrink a failure is to open hundreds of stores: do it by hand
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert model.seen == set(hops(workflow.machine))
