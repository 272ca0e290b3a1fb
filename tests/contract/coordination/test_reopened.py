"""What a file of leases and members holds after its processes, or its machine, are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import SqliteCoordination
from astra_core.errors import CoordinationError
from astra_core.keyed import BlockingPool
from astra_core.testing import FakeClock
from tests.contract.coordination.conftest import open_coordination

if TYPE_CHECKING:
    from pathlib import Path


async def test_leases_outlive_their_process(tmp_path: Path) -> None:
    """A process that is started anew finds the leases of the one before it held until their ttl is over."""
    clock = FakeClock()
    async with open_coordination("sqlite", tmp_path, clock) as first:
        await first.acquire("n", ttl=9.0)
        await first.join("a", ttl=9.0)
    async with open_coordination("sqlite", tmp_path, clock) as second:
        assert await second.acquire("n", ttl=9.0) is None
        assert await second.join("a", ttl=9.0) is None
        clock.advance(9.0)
        lease = await second.acquire("n", ttl=9.0)
        assert lease is not None
        assert lease.epoch == 2


@pytest.mark.parametrize("monotonic", [1.0, 1_000_000.0])
async def test_a_restart_of_the_machine_ends_every_lease_and_keeps_the_epochs(tmp_path: Path, monotonic: float) -> None:
    """Wherever the new boot's clock stands, nobody is left from before it, and no epoch is given out twice."""
    async with open_coordination("sqlite", tmp_path, FakeClock()) as before:
        await before.acquire("n", ttl=9.0)
        member = await before.join("a", ttl=9.0)
        assert member is not None
    async with open_coordination("sqlite", tmp_path, FakeClock(monotonic=monotonic), boot="second boot") as after:
        assert await after.standing("n") is None
        assert (await after.view()).members == ()
        lease, again = await after.acquire("n", ttl=9.0), await after.join("a", ttl=9.0)
        assert lease is not None
        assert lease.epoch == 2
        assert again is not None
        assert again.epoch > member.epoch


async def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """Opening it says so in one sentence, in the port's own error."""
    path = tmp_path / "other.db"
    path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=1, queue=4)
    try:
        with pytest.raises(CoordinationError, match=r"other\.db"):
            await SqliteCoordination(path, writer=writer, readers=readers).open()
    finally:
        await writer.close()
        await readers.close()
