"""What is dropped: all that every group has acknowledged, and the oldest when there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astra_core.events import MessagesTrimmed
from astra_core.messaging import Outgoing, Retain
from tests.contract.messaging.conftest import datas, drain

if TYPE_CHECKING:
    from astra_core.messaging import MessagingEngine, TopicState
    from tests.contract.messaging.conftest import Opener


async def fill(engine: MessagingEngine, *numbers: int) -> None:
    """Publish a message a number."""
    await engine.publisher().publish([Outgoing("t", "k", b"%d" % number) for number in numbers])


async def state_of(engine: MessagingEngine) -> TopicState:
    """The one topic."""
    (state,) = await engine.topics()
    return state


async def test_messages_go_behind_the_slowest_group(engine: MessagingEngine) -> None:
    """A message stays as long as one group needs it, and its weight goes with it."""
    await fill(engine, 1, 2, 3)
    fast, slow = engine.consumer("t", group="fast"), engine.consumer("t", group="slow")
    await fast.acknowledge((await fast.receive())[-1])
    assert (await state_of(engine)).kept == 0
    assert await slow.receive() == ()
    await fill(engine, 4, 5, 6)
    await slow.acknowledge((await slow.receive(limit=1))[0])
    await fast.acknowledge((await fast.receive())[-1])
    state = await state_of(engine)
    assert (state.kept, state.weight) == (2, 2 * 66)
    assert datas(await slow.receive()) == [b"5", b"6"]


async def test_a_topic_without_groups_is_kept_for_the_first_one(engine: MessagingEngine) -> None:
    """Who comes late misses nothing that was published before there was a group."""
    await fill(engine, 1, 2)
    await fill(engine, 3)
    assert datas(await engine.consumer("t", group="late").receive()) == [b"1", b"2", b"3"]


async def test_offsets_go_on_when_a_topic_was_emptied(engine: MessagingEngine) -> None:
    """A position says the same after all messages are gone: no offset is given twice."""
    await fill(engine, 1)
    consumer = engine.consumer("t", group="g")
    first = (await consumer.receive())[0]
    await consumer.acknowledge(first)
    await fill(engine, 2)
    second = (await consumer.receive())[0]
    assert second.offset == first.offset + 1


async def test_slack_lets_some_stay(opener: Opener) -> None:
    """A trim waits until more than so many can go, and then takes all of them."""
    async with opener(retain=Retain(slack=2)) as engine:
        await fill(engine, 1, 2, 3, 4)
        consumer = engine.consumer("t", group="g")
        received = await consumer.receive()
        await consumer.acknowledge(received[1])
        assert (await state_of(engine)).kept == 4
        await consumer.acknowledge(received[2])
        assert (await state_of(engine)).kept == 1


async def test_a_group_that_is_gone_holds_back_no_more_than_the_bound(
    opener: Opener, trims: list[MessagesTrimmed]
) -> None:
    """The oldest go for want of room; what the group lost is counted, told, and still said later."""
    async with opener(trims.append, retain=Retain(messages=3, slack=0)) as engine:
        await fill(engine, 1)
        gone = engine.consumer("t", group="gone")
        await gone.receive()
        await gone.release()
        await fill(engine, 2, 3, 4, 5)
        state = await state_of(engine)
        assert (state.kept, state.groups[0].lost, state.groups[0].behind) == (3, 2, 3)
        assert trims == [MessagesTrimmed("t", 2, {"gone": 2})]
        await fill(engine, 6)
        assert (await state_of(engine)).groups[0].lost == 3
        assert datas(await gone.receive()) == [b"4", b"5", b"6"]


async def test_what_a_group_had_acknowledged_is_not_lost_to_it(opener: Opener, trims: list[MessagesTrimmed]) -> None:
    """Only messages behind its position count, group by group."""
    async with opener(trims.append, retain=Retain(messages=2, slack=0)) as engine:
        await fill(engine, 1, 2)
        ahead, behind = engine.consumer("t", group="ahead"), engine.consumer("t", group="behind")
        await behind.receive()
        await ahead.acknowledge((await ahead.receive())[-1])
        await fill(engine, 3)
        groups = {group.group: group for group in (await state_of(engine)).groups}
        assert (groups["ahead"].lost, groups["behind"].lost) == (0, 1)
        assert trims == [MessagesTrimmed("t", 1, {"behind": 1})]
        assert datas(await ahead.receive()) == [b"3"]


async def test_a_topic_is_bounded_in_bytes_too(opener: Opener) -> None:
    """Data, keys and ids count, and 64 bytes a message; the newest stays even when it is larger than the bound."""
    async with opener(retain=Retain(weight=300, slack=0)) as engine:
        publisher = engine.publisher()
        for number in range(3):
            await publisher.publish([Outgoing("t", "ké", b"x" * 30, f"id{number}")])
        state = await state_of(engine)
        assert (state.kept, state.weight) == (3, 300)
        await publisher.publish([Outgoing("t", "k", b"")])
        state = await state_of(engine)
        assert (state.kept, state.weight) == (3, 265)
        await publisher.publish([Outgoing("t", "k", b"y" * 1_000)])
        state = await state_of(engine)
        assert (state.kept, state.weight) == (1, 1_065)


async def test_one_publish_may_be_larger_than_the_bound(opener: Opener) -> None:
    """Its newest messages stay, in order."""
    async with opener(retain=Retain(messages=10, slack=0)) as engine:
        await fill(engine, *range(100))
        assert datas(await drain(engine.consumer("t", group="g"))) == [b"%d" % number for number in range(90, 100)]


async def test_a_trim_behind_the_slowest_group_is_told_without_a_loss(
    opener: Opener, trims: list[MessagesTrimmed]
) -> None:
    """Listeners hear how many went, so that the size of a log can be followed."""
    async with opener(trims.append) as engine:
        await fill(engine, 1, 2)
        consumer = engine.consumer("t", group="g")
        await consumer.acknowledge((await consumer.receive())[-1])
        assert trims == [MessagesTrimmed("t", 2, {})]


async def test_all_that_was_kept_for_a_forgotten_group_goes(engine: MessagingEngine) -> None:
    """Of 12,000 messages that the others have acknowledged no more than the slack stays."""
    slow, fast = engine.consumer("t", group="slow"), engine.consumer("t", group="fast")
    assert await slow.receive() == ()
    await engine.publisher().publish([Outgoing("t", "k", b"") for _ in range(12_000)])
    while received := await fast.receive(limit=4_000):
        await fast.acknowledge(received[-1])
    await engine.forget("t", group="slow")
    assert (await engine.topics())[0].kept <= Retain().slack


async def test_forgetting_the_slowest_group_lets_its_messages_go(engine: MessagingEngine) -> None:
    """What was kept for it alone is dropped."""
    await fill(engine, 1, 2)
    slow, fast = engine.consumer("t", group="slow"), engine.consumer("t", group="fast")
    await slow.receive()
    await fast.acknowledge((await fast.receive())[-1])
    assert (await state_of(engine)).kept == 2
    await engine.forget("t", group="slow")
    assert (await state_of(engine)).kept == 0


@pytest.mark.parametrize("bounds", [{"messages": 0}, {"weight": 0}, {"slack": -1}])
def test_bounds_that_are_none_are_refused(bounds: dict[str, int]) -> None:
    """A topic keeps something."""
    with pytest.raises(ValueError, match="at least"):
        Retain(**bounds)
