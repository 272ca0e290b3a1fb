"""Events become counts, and objects show what they keep."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from astra_core import events
from astra_core.coordination import Leadership, MemoryCoordination
from astra_core.errors import MessagingUnavailable
from astra_core.keyed import BlockingPool
from astra_core.messaging import MemoryMessaging
from astra_core.resilience import CircuitBreaker, Limiter, RetryBudget, Sweep
from astra_core.storage import MemoryStore, Publish
from astra_core.telemetry import (
    LIBRARY,
    Metrics,
    MetricsListener,
    names,
    watch_breaker,
    watch_budget,
    watch_leadership,
    watch_limiter,
    watch_loop,
    watch_pool,
    watch_process,
    watch_relay,
    watch_slots,
)
from astra_core.testing import FakeClock
from astra_core.workflow import FENCES, Relay
from astra_core.workflow.slots import SlotOwner

if TYPE_CHECKING:
    from collections.abc import Mapping


async def shown(metrics: Metrics) -> Mapping[str, float]:
    """Return every sample, as `name{value}{value}`."""
    _, body = await metrics.render()
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    """The library's table."""
    return Metrics(LIBRARY, clock=FakeClock())


@pytest.mark.parametrize(
    ("event", "sample"),
    [
        (events.BreakerOpened("db", "rate", 1.0, 1, 1.0, 0.0, 1), "astra_breaker_transitions_total{db}{open}"),
        (events.BreakerHalfOpened("db", "time", 3, 1), "astra_breaker_transitions_total{db}{half-open}"),
        (events.BreakerRamping("db", 1.0, 1), "astra_breaker_transitions_total{db}{ramping}"),
        (events.BreakerClosed("db", "good", 1), "astra_breaker_transitions_total{db}{closed}"),
        (events.BreakerOverridden("db", "disabled", 1), "astra_breaker_transitions_total{db}{disabled}"),
        (events.CallRejected("db", "open", 1.0), "astra_breaker_rejected_total{db}"),
        (events.RetryScheduled("db", 1, 0.1, "OSError"), "astra_retries_total{db}{scheduled}"),
        (events.RetrySucceeded("db", 2), "astra_retries_total{db}{succeeded}"),
        (events.RetryGivenUp("db", 2, "budget", "OSError"), "astra_retries_total{db}{budget}"),
        (events.CallHedged("db", 0.1), "astra_hedges_total{db}"),
        (events.CallRefused("db", "full", 1), "astra_limiter_rejected_total{db}{full}"),
        (events.CallThrottled("db", 0.5), "astra_throttled_total{db}"),
        (events.DeadlineExpired("db", 1.0, own=True), "astra_deadline_exceeded_total{db}{own}"),
        (events.DeadlineExpired("db", 1.0, own=False), "astra_deadline_exceeded_total{db}{caller}"),
        (events.GroupCommitted(5, 0.01, 0.0), "astra_commit_group_size_bucket{8.0}"),
        (events.GroupCommitted(5, 0.01, 0.0), "astra_commit_duration_seconds_count"),
        (events.GroupCommitted(5, 0.01, 0.0), "astra_commit_lock_wait_seconds_count"),
        (events.WriterContended(1, 0.01), "astra_writer_contended_total"),
        (events.EntriesWaiting("links", "alike", 1), "astra_index_entries_waiting{links}{alike}"),
        (events.PoolWaited("db", 0.01), "astra_pool_wait_seconds_count{db}"),
        (
            events.StoreCalled("sqlite", "get", "links", 0.01, ""),
            "astra_store_operation_duration_seconds_count{get}{ok}{sqlite}",
        ),
        (
            events.StoreCalled("sqlite", "commit", "", 0.01, "CommitConflict"),
            "astra_store_operation_duration_seconds_count{commit}{conflict}{sqlite}",
        ),
        (
            events.StoreCalled("sqlite", "commit", "", 0.01, "StoreUnavailable"),
            "astra_store_operation_duration_seconds_count{commit}{failed}{sqlite}",
        ),
        (
            events.StoreCalled("sqlite", "get", "", 0.01, "CancelledError"),
            "astra_store_operation_duration_seconds_count{get}{cancelled}{sqlite}",
        ),
        (
            events.MessagingCalled("log", "publish", {"links": 1}, "", 0.01, ""),
            "astra_messages_total{}{publish}{links}",
        ),
        (
            events.MessagingCalled("log", "receive", {"links": 1}, "mail", 0.01, ""),
            "astra_messaging_batch_size_count{log}{receive}",
        ),
        (
            events.MessagingCalled("log", "publish", {"links": 1}, "", 0.01, "MessagingUnavailable"),
            "astra_messaging_operation_duration_seconds_count{log}{publish}{failed}",
        ),
        (events.MessagesTrimmed("links", 1, {}), "astra_messages_trimmed_total{links}"),
        (events.MessagesTrimmed("links", 3, {"mail": 1}), "astra_messages_lost_total{mail}{links}"),
        (events.GroupBehind("links", "mail", 1), "astra_messages_behind{mail}{links}"),
        (events.EventHandled("link", "Disable", "taken"), "astra_workflow_events_total{taken}{link}"),
        (events.StepConflicted("link"), "astra_workflow_conflicts_total{link}"),
        (events.TimerFired("link", "Expire", "taken", 0.7), "astra_workflow_timers_total{taken}{link}"),
        (events.TimerFired("link", "Expire", "taken", 0.7), "astra_workflow_timer_lateness_seconds_bucket{1.0}{link}"),
        (events.InstanceStuck("link", "KeyError"), "astra_workflow_stuck_total{KeyError}{link}"),
        (events.OutboxRelayed("outbox", 1, 0.1), "astra_relay_messages_total{sent}{outbox}"),
        (events.MessageRefused("outbox", "mail"), "astra_relay_messages_total{refused}{outbox}"),
        (events.RelayFailed("outbox", "StoreUnavailable", 1.0), "astra_relay_failures_total{StoreUnavailable}{outbox}"),
        (events.LeaseTaken("sweeper", 3), "astra_lease_changes_total{taken}{sweeper}"),
        (events.LeaseEnded("sweeper", 3, "released"), "astra_lease_changes_total{released}{sweeper}"),
        (events.LeaseEnded("sweeper", 3, "lost"), "astra_lease_changes_total{lost}{sweeper}"),
        (events.WorkFailed("sweeper", "KeyError"), "astra_lease_failures_total{KeyError}{sweeper}"),
        (events.MembersChanged(7, 2), "astra_member_changes_total"),
        (events.SlotHandedOver(1, "taken", 0.2), "astra_slot_handover_seconds_bucket{0.25}{taken}"),
    ],
)
async def test_an_event_is_counted_where_it_belongs(metrics: Metrics, event: object, sample: str) -> None:
    """Once each, under the names of the table."""
    listener = MetricsListener(metrics)
    before = await shown(metrics)
    listener(event)
    assert (await shown(metrics))[sample] == before.get(sample, 0) + 1


async def test_what_a_group_lost_is_shown_before_it_lost_anything(metrics: Metrics) -> None:
    """An alert on its increase would miss the first loss of a series that comes with it."""
    MetricsListener(metrics)(events.MessagingCalled("log", "receive", {"links": 0}, "mail", 1.0, ""))
    found = await shown(metrics)
    assert found["astra_messages_lost_total{mail}{links}"] == 0
    assert "astra_messaging_batch_size_count{log}{receive}" not in found


async def test_what_is_in_no_table_is_passed_over(metrics: Metrics) -> None:
    """Another's event changes nothing and raises nothing."""

    @dataclasses.dataclass(frozen=True)
    class Other:
        """Something else."""

    listener = MetricsListener(metrics)
    before = await shown(metrics)
    listener(Other())
    assert await shown(metrics) == before


async def test_objects_show_what_they_keep(metrics: Metrics) -> None:
    """A breaker's state, a limiter's permits, a budget's balance, a pool's threads, the process; from the start."""
    clock = FakeClock()
    breaker = CircuitBreaker(name="db", clock=clock)
    limiter = Limiter("db", sweep=Sweep(clock=clock))
    budget = RetryBudget(clock=clock)
    pool = BlockingPool("db", threads=3, queue=5)
    watch_breaker(metrics, breaker)
    watch_limiter(metrics, limiter)
    watch_budget(metrics, "db", budget)
    watch_pool(metrics, pool)
    watch_process(metrics)
    found = await shown(metrics)
    assert found["astra_breaker_state{db}{closed}"] == 1
    assert found["astra_breaker_state{db}{open}"] == 0
    assert found["astra_breaker_transitions_total{db}{open}"] == 0
    assert found["astra_limiter_rejected_total{db}{full}"] == 0
    assert found["astra_retry_budget_left{db}"] == budget.balance
    assert found["astra_limiter_limit{db}"] == limiter.limit
    assert (found["astra_pool_max{db}"], found["astra_pool_threads{db}"]) == (3, 0)
    assert found["astra_workers"] == 1
    assert found["astra_worker_memory_bytes"] > 1_000_000
    breaker.force_open()
    assert limiter.try_acquire()
    await pool.run(int)
    found = await shown(metrics)
    assert found["astra_breaker_state{db}{closed}"] == 0
    assert found["astra_breaker_state{db}{forced open}"] == 1
    assert found["astra_limiter_in_use{db}"] == 1
    assert found["astra_pool_threads{db}"] == 1
    await pool.close()


async def test_a_relay_shows_what_waits(metrics: Metrics) -> None:
    """Depth and age are those of the relay when somebody asks; its counters are there from the start."""
    async with MemoryStore(collections=[]) as store:
        await store.commit([Publish(topic="t", key="k", data=b"")] * 3)
        relay = Relay(store, MemoryMessaging(), batch=2, clock=FakeClock())
        watch_relay(metrics, relay)
        found = await shown(metrics)
        assert [found[f"astra_relay_messages_total{{{outcome}}}{{outbox}}"] for outcome in ("sent", "refused")] == [
            0,
            0,
        ]
        with pytest.raises(MessagingUnavailable):
            await relay.round()
        found = await shown(metrics)
        assert (found["astra_relay_depth{outbox}"], found["astra_relay_age_seconds{outbox}"]) == (3, 0)


async def test_leases_and_slots_show_who_has_them(metrics: Metrics) -> None:
    """A lease that is held has its epoch, an owner its slots, and both nothing before and after."""
    clock = FakeClock()
    async with MemoryCoordination(clock=clock) as coordination, MemoryStore(collections=[FENCES]) as store:
        leadership = Leadership(coordination, "sweeper", clock=clock)
        owner = SlotOwner("a", members=coordination, store=store, clock=clock)
        watch_leadership(metrics, leadership)
        watch_slots(metrics, owner)
        series = ("astra_lease_held{sweeper}", "astra_lease_epoch{sweeper}", "astra_slots_owned", "astra_members")

        async def figures() -> list[float]:
            found = await shown(metrics)
            return [found[name] for name in series]

        assert await figures() == [0, 0, 0, 0]
        lease = await coordination.acquire("sweeper", ttl=1.0)
        assert lease is not None
        await coordination.release(lease)
        tasks = [
            asyncio.create_task(leadership.run(lambda _: asyncio.Event().wait())),
            asyncio.create_task(owner.run()),
        ]
        await clock.run_for(1.0)
        assert await figures() == [1, 2, 1024, 1]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await figures() == [0, 0, 0, 0]


async def test_the_lag_of_the_loop_is_how_late_it_wakes() -> None:
    """A sleep of 100 ms that took 350 is 250 ms late."""
    clock = FakeClock()
    metrics = Metrics(LIBRARY, clock=clock)
    watching = asyncio.create_task(watch_loop(metrics.histogram(names.LOOP_LAG), clock=clock, interval=0.1))
    for seconds in (0.1, 0.35):
        await asyncio.sleep(0)
        clock.advance(seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    found = await shown(metrics)
    assert found["astra_event_loop_lag_seconds_count"] == 2
    assert found["astra_event_loop_lag_seconds_sum"] == pytest.approx(0.25)
    watching.cancel()
    await asyncio.wait([watching])
