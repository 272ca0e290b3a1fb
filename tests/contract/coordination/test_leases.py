"""What every adapter promises of leases."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import Lease
from astra_core.errors import CoordinationUnavailable, LeaseLost

if TYPE_CHECKING:
    from tests.contract.coordination.conftest import Bench


async def taken(bench: Bench, name: str = "n", *, ttl: float = 9.0, holder: str = "") -> Lease:
    """Take a lease that must be free."""
    lease = await bench.at.acquire(name, ttl=ttl, holder=holder)
    assert lease is not None
    return lease


async def test_a_lease_has_one_holder(bench: Bench) -> None:
    """Whoever asks while it is held gets nothing, its own holder too; other names are other leases."""
    lease = await taken(bench)
    assert (lease.name, lease.epoch, lease.ttl) == ("n", 1, 9.0)
    assert await bench.at.acquire("n", ttl=9.0) is None
    assert (await taken(bench, "other")).epoch == 1


async def test_many_ask_and_one_gets_it(bench: Bench) -> None:
    """Of a hundred who ask at once exactly one holds it."""
    answers = await asyncio.gather(*(bench.at.acquire("n", ttl=9.0) for _ in range(100)))
    assert sum(answer is not None for answer in answers) == 1


async def test_the_holder_stops_no_later_than_another_can_take_it(bench: Bench) -> None:
    """Until the time that the holder knows nobody else gets it, and from then on anybody, under the next epoch."""
    lease = await taken(bench)
    bench.clock.advance(8.999)
    assert bench.clock.monotonic() < lease.until
    assert await bench.at.acquire("n", ttl=9.0) is None
    bench.clock.advance(0.001)
    assert bench.clock.monotonic() >= lease.until
    assert (await taken(bench)).epoch == 2


async def test_a_renewal_counts_from_when_it_was_asked_for(bench: Bench) -> None:
    """It gives another ttl under the same epoch, and nobody else gets the lease in it."""
    lease = await taken(bench)
    bench.clock.advance(8.0)
    asked = bench.clock.monotonic()
    renewed = await bench.at.renew(lease)
    assert (renewed.epoch, renewed.ttl, renewed.until) == (1, 9.0, asked + 9.0)
    bench.clock.advance(8.5)
    assert await bench.at.acquire("n", ttl=9.0) is None


async def test_a_late_renewal_is_refused_even_when_nobody_took_the_lease(bench: Bench) -> None:
    """The lease is over for its holder, who must take it anew, under another epoch."""
    lease = await taken(bench)
    bench.clock.advance(9.0)
    with pytest.raises(LeaseLost) as caught:
        await bench.at.renew(lease)
    assert (caught.value.name, caught.value.epoch) == ("n", 1)
    assert (await taken(bench)).epoch == 2


async def test_an_old_holder_changes_nothing(bench: Bench) -> None:
    """Neither its renewal nor its release touches the lease of who came after it."""
    old = await taken(bench)
    bench.clock.advance(10.0)
    new = await taken(bench)
    with pytest.raises(LeaseLost):
        await bench.at.renew(old)
    await bench.at.release(old)
    assert await bench.at.acquire("n", ttl=9.0) is None
    assert (await bench.at.renew(new)).epoch == 2


async def test_a_released_lease_is_free_at_once_and_its_epoch_used_up(bench: Bench) -> None:
    """The next holder has the next epoch; releasing twice, or what never was, does nothing."""
    lease = await taken(bench)
    await bench.at.release(lease)
    with pytest.raises(LeaseLost):
        await bench.at.renew(lease)
    await bench.at.release(lease)
    await bench.at.release(Lease("never", 1, 9.0, 0.0))
    assert (await taken(bench)).epoch == 2


async def test_steps_of_the_wall_clock_move_nothing(bench: Bench) -> None:
    """A day forward or back neither ends a lease nor keeps it."""
    lease = await taken(bench)
    bench.clock.step(86_400)
    assert await bench.at.acquire("n", ttl=9.0) is None
    await bench.at.renew(lease)
    bench.clock.step(-2 * 86_400)
    bench.clock.advance(9.0)
    assert (await taken(bench)).epoch == 2


async def test_people_see_who_holds_it(bench: Bench) -> None:
    """The holder's own name, the epoch and the seconds left; nothing once it is over."""
    await taken(bench, holder="worker 7")
    bench.clock.advance(2.0)
    standing = await bench.at.standing("n")
    assert standing is not None
    assert (standing.name, standing.holder, standing.epoch, standing.left) == ("n", "worker 7", 1, 7.0)
    bench.clock.advance(7.0)
    assert await bench.at.standing("n") is None
    assert await bench.at.standing("other") is None


async def test_a_closed_coordination_is_unavailable(bench: Bench) -> None:
    """Every call says so with the port's own error."""
    lease = await taken(bench)
    await bench.at.close()
    for call in (bench.at.acquire("x", ttl=1.0), bench.at.renew(lease), bench.at.release(lease)):
        with pytest.raises(CoordinationUnavailable):
            await call
