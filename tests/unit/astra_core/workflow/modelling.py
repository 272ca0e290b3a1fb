"""A workflow over each kind of store, held against its model."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from astra_core.fsm import Hop, hops
from astra_core.storage import MemoryStore
from astra_core.testing.workflows import model_of
from tests.unit.astra_core.workflow.parcels import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from hypothesis import strategies as st

    from astra_core.storage import Record, Write
    from astra_core.testing.workflows import Opener
    from astra_core.workflow import Workflow
    from astra_core.workflow.runner import StoreWithHistory

__all__ = ["FULL", "hold_against_its_model"]

FULL = bool(os.environ.get("ASTRA_TEST_FULL"))


def hold_against_its_model(
    kind: str,
    workflow: Workflow[Any, Any, Any, Any],
    data: st.SearchStrategy[Any],
    events: Mapping[type, st.SearchStrategy[Any]],
    *,
    examples: int,
) -> None:
    """Run the model of a workflow over stores of a kind, `examples` for each transition; every one is to be taken."""
    every, seen = hops(workflow.machine), set[Hop[Any]]()
    with tempfile.TemporaryDirectory() as folder:
        opener = _memory(workflow) if kind == "memory" else _sqlite(workflow, Path(folder))
        for hop in every:
            model = model_of(workflow, data=data, events=events, opener=opener, ways=[hop])
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
            seen |= model.seen
    assert seen == set(every)


class _Yielding(MemoryStore):
    """A store in memory that lets others run before each call, as a real one does; it keeps what it holds."""

    async def get(self, collection: str, key: str) -> Record | None:
        """Read, later."""
        await asyncio.sleep(0)
        return await super().get(collection, key)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Write, later."""
        await asyncio.sleep(0)
        return await super().commit(writes)


def _memory(workflow: Workflow[Any, Any, Any, Any]) -> Callable[[], Opener]:
    """Return what makes one store an example."""

    def example() -> Opener:
        store = _Yielding(collections=workflow.collections)

        @asynccontextmanager
        async def opened() -> AsyncIterator[StoreWithHistory]:
            async with store:
                yield store

        return opened

    return example


def _sqlite(workflow: Workflow[Any, Any, Any, Any], root: Path) -> Callable[[], Opener]:
    """Return what makes one file an example."""
    numbers = itertools.count()

    def example() -> Opener:
        folder = root / str(next(numbers))
        folder.mkdir()
        return lambda: open_store("sqlite", folder, workflow.collections)

    return example
