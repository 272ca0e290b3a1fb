"""The executor for tests: what it does apart from what every executor promises."""

from __future__ import annotations

import asyncio

import pytest

from astra_core.keyed import InlineExecutor


async def test_work_runs_in_its_callers_task_at_once() -> None:
    """Nothing else has a turn before work that does not wait is done."""
    executor, others = InlineExecutor(), list[int]()
    asyncio.get_running_loop().call_soon(others.append, 1)

    async def whose() -> str:
        task = asyncio.current_task()
        return task.get_name() if task else ""

    async def nested() -> str:
        return await executor.submit("other", whose)

    assert await executor.submit("k", whose) == await executor.submit("k", nested) == await whose()
    assert others == []


async def test_a_cancelled_caller_takes_its_work_along() -> None:
    """There is no task but the caller's; the key is free afterwards."""
    executor, begun = InlineExecutor(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    caller = asyncio.create_task(executor.submit("k", forever))
    await begun.wait()
    assert repr(executor) == "InlineExecutor('inline', keys=1)"
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await executor.submit("k", abs, -1) == 1
    await executor.close(timeout=1.0)
    assert repr(executor) == "InlineExecutor('inline', keys=0, closed)"


async def test_posted_work_that_is_cut_before_its_first_step_leaves_nothing() -> None:
    """Its key is at rest though the work never ran."""
    executor = InlineExecutor()

    async def post_and_close() -> int:
        closing = executor.close(timeout=0.0)
        executor.post("k", asyncio.Event().wait)
        executor.post("k", asyncio.Event().wait)
        return await closing

    assert await asyncio.wait_for(post_and_close(), timeout=30) == 2
    assert repr(executor) == "InlineExecutor('inline', keys=0, closed)"
