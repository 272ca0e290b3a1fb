"""Runners of the test workflows over each store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astra_core.testing import FakeClock
from astra_core.workflow import Runner
from tests.unit.astra_core.workflow.parcels import PARCEL, Parcel, ParcelEvent, Weight, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.storage import StoreEngine


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still at second 1,000."""
    return FakeClock(time=1_000.0)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreEngine]:
    """An open, empty store of each kind."""
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def told() -> list[object]:
    """Every event that the runner tells."""
    return []


@pytest.fixture
def parcels(store: StoreEngine, clock: FakeClock, told: list[object]) -> Runner[Parcel, ParcelEvent, int, Weight]:
    """A runner of parcels."""
    return Runner(PARCEL, store, clock=clock, listeners=told.append)
