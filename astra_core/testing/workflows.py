"""A Hypothesis state machine made from a workflow: everything that can happen to its instances, against a pure model.

Needs `hypothesis`, so it is imported by its own name and not by `astra_core.testing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from astra_core.fsm import Hop, hops, shortest_paths, transition
from astra_core.messaging import MemoryMessaging
from astra_core.resilience import Constant
from astra_core.testing.clock import FakeClock
from astra_core.workflow import Kept, Notice, Occurrence, Relay, Runner, Sweeper, Workflow, advance, replayed
from astra_core.workflow.runner import StoreWithHistory

__all__ = ["Opener", "WorkflowModel", "model_of"]

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[StoreWithHistory]]
"""Opens the store of one example: empty at first, later as it was left."""

_KEYS = ("a", "b")
_DRAWS = 10
"""Events drawn for a transition until one takes it."""


class WorkflowModel(RuleBasedStateMachine):
    """Instances in a store beside their model, the pure `advance`; see `model_of`."""

    workflow: Workflow[Any, Any, Any, Any]
    data: st.SearchStrategy[Any]
    events: Mapping[type, st.SearchStrategy[Any]]
    opener: Callable[[], Opener]
    ways: Sequence[Hop[Any]]
    seen: set[Hop[Any]]
    """Every transition that was taken so far, by any example."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.clock = FakeClock()
        self.model: dict[str, Kept[Any, Any]] = {}
        self.sent: list[tuple[str, Any, str]] = []
        self.told: list[Notice] = []
        self.messaging = MemoryMessaging()
        self._open = type(self).opener()
        self._stack = AsyncExitStack()
        self.loop.run(self._begin())

    async def _begin(self) -> None:
        await self.messaging.open()
        await self._restart()

    async def _restart(self) -> None:
        await self._stack.aclose()
        self.store = await self._stack.enter_async_context(self._open())
        options: Any = {"clock": self.clock, "backoff": Constant(0.0)}
        self.runners = [Runner(self.workflow, self.store, tries=1_000, **options) for _ in range(2)]
        self.sweepers = [Sweeper(runner, self.store, batch=1, **options) for runner in self.runners]
        self.relay = Relay(self.store, self.messaging.publisher(), batch=3, clock=self.clock)

    @initialize(draw=st.data())
    def walk(self, draw: st.DataObject) -> None:
        """Begin with the shortest path to one of the transitions, as far as guards let it."""
        path = shortest_paths(self.workflow.machine)[draw.draw(st.sampled_from(self.ways))]
        self._make(_KEYS[0], draw.draw(self.data), path[0].source)
        for hop in path:
            for _ in range(_DRAWS):
                kept = self.model[_KEYS[0]]
                event = draw.draw(self.events[hop.transition.event])
                context = self.workflow.context(kept.data, self.clock.time())
                if transition(self.workflow.machine, kept.state, event, context).transition is hop.transition:
                    self._send(_KEYS[0], event)
                    break

    @rule(draw=st.data())
    def begin(self, draw: st.DataObject) -> None:
        """Make an instance, in any initial state."""
        free = [key for key in _KEYS if key not in self.model]
        if free:
            initial = draw.draw(st.sampled_from(self.workflow.machine.initials))
            self._make(free[0], draw.draw(self.data), initial)

    def _make(self, key: str, data: Any, state: Any) -> None:
        self.model[key] = self.loop.run(self.runners[0].begin(key, data, state=state)).kept

    @rule(draw=st.data())
    def send(self, draw: st.DataObject) -> None:
        """Send an event: the answer and what is stored are what the model says."""
        self._send(*self._event(draw))

    def _send(self, key: str, event: Any) -> None:
        name = f"e{len(self.sent)}"
        self.sent.append((key, event, name))
        step = advance(self.workflow, self.model[key], Occurrence(event, name, "x", "y"), now=self._now())
        result = self.loop.run(self.runners[0].send(key, event, id=name, by="x", why="y"))
        assert result.decision == step.decision
        assert result.instance.kept == step.kept
        self.model[key] = step.kept
        if not step.is_heard:
            self.sent.pop()

    @rule(place=st.integers(0, 1_000))
    def send_again(self, place: int) -> None:
        """What was heard before is a duplicate and changes nothing."""
        if not self.sent:
            return
        key, event, name = self.sent[place % len(self.sent)]
        assert self.loop.run(self.runners[1].send(key, event, id=name)).duplicate

    @rule(draw=st.data())
    def send_together(self, draw: st.DataObject) -> None:
        """Send several events at once, some twice, with timers firing meanwhile: each that is taken is taken once."""
        events = [(*self._event(draw), f"c{len(self.sent)}.{number}") for number in range(draw.draw(st.integers(2, 5)))]
        again = events[: draw.draw(st.integers(0, 2))]
        taken = self.loop.run(self._together([*events, *again]))
        histories = {key: [entry.id for entry in self._entries(key)] for key in self.model}
        for key, event, name in events:
            kept = self._kept(key)
            heard = histories[key].count(name) + [each.id for each in kept.deferred].count(name)
            assert heard == (name in taken)
            self.sent += [(key, event, name)] * heard
        self.model = {key: self._kept(key) for key in self.model}

    async def _together(self, events: list[tuple[str, Any, str]]) -> set[str]:
        sending = [self.runners[place % 2].send(key, event, id=name) for place, (key, event, name) in enumerate(events)]
        results, *_ = await asyncio.gather(asyncio.gather(*sending), *(each.round() for each in self.sweepers))
        heard = zip(events, results, strict=True)
        return {
            name
            for (_, _, name), result in heard
            if result.duplicate or (result.decision is not None and result.decision.outcome in {"taken", "deferred"})
        }

    @rule(seconds=st.floats(0.0, 100.0))
    def pass_time(self, seconds: float) -> None:
        """Let time pass, with nobody looking."""
        self.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        """Fire what is due, from two sweepers at once."""
        self.loop.run(self._sweep())
        self.model = {key: advance(self.workflow, kept, None, now=self._now()).kept for key, kept in self.model.items()}

    async def _sweep(self) -> None:
        for _ in range(2 * len(_KEYS) + 1):  # a batch is one instance, and what is left over is behind the cursor
            await asyncio.gather(*(sweeper.round() for sweeper in self.sweepers))

    @rule()
    def publish(self) -> None:
        """Relay one batch."""
        self.loop.run(self.relay.round())

    @rule()
    def restart(self) -> None:
        """Close the store and open it again."""
        self.loop.run(self._restart())

    @invariant()
    def the_record_is_the_model_and_the_history_leads_to_it(self) -> None:
        """State, data, timers and deferred events are as the model has them; replayed, state and data come out."""
        for key, kept in self.model.items():
            assert self._kept(key) == kept
            entries = self._entries(key)
            found = replayed(self.workflow, entries)
            assert (found.state, found.data) == (kept.state, kept.data)

    def teardown(self) -> None:
        """Publish what is left: every entry was told once, in order; note the transitions that were taken."""
        try:
            self.loop.run(self._drain())
            for key in self.model:
                self._note(key)
        finally:
            self.loop.run(self._stack.aclose())
            self.loop.close()

    async def _drain(self) -> None:
        while await self.relay.round():
            pass
        consumer = self.messaging.consumer(self.workflow.announce or self.workflow.topic, group="test")
        self.told = [Notice.read(message.data) for message in await consumer.receive(limit=100_000)]

    def _note(self, key: str) -> None:
        entries = self._entries(key)
        assert self.loop.run(self.runners[0].replay(key)) is self.model[key].state
        if self.workflow.announce:
            told = [notice.entry.id for notice in self.told if notice.key == key]
            assert told == [entry.id for entry in entries]
        state = self.workflow.states[entries[0].target]
        for entry in entries[1:]:
            target = self.workflow.states[entry.target]
            self.seen.update(
                hop
                for hop in hops(self.workflow.machine)
                if (hop.source, hop.transition.event.__name__, hop.transition.target) == (state, entry.event, target)
            )
            state = target

    def _event(self, draw: st.DataObject) -> tuple[str, Any]:
        """Draw an event for an instance. What is drawn depends on no race that was run, so it can be repeated."""
        key = draw.draw(st.sampled_from(_KEYS))
        kind = draw.draw(st.sampled_from(self.workflow.machine.events))
        return key if key in self.model else _KEYS[0], draw.draw(self.events[kind])

    def _now(self) -> int:
        return round(self.clock.time() * 1e6)

    def _kept(self, key: str) -> Kept[Any, Any]:
        instance = self.loop.run(self.runners[0].get(key))
        assert instance is not None
        return instance.kept

    def _entries(self, key: str) -> list[Any]:
        return list(self.loop.run(self.runners[1].history(key, limit=100_000)))


def model_of(
    workflow: Workflow[Any, Any, Any, Any],
    *,
    data: st.SearchStrategy[Any],
    opener: Callable[[], Opener],
    events: Mapping[type, st.SearchStrategy[Any]] | None = None,
    ways: Sequence[Hop[Any]] = (),
) -> type[WorkflowModel]:
    """Return a state machine for `run_state_machine_as_test`: instances with `data`, to which everything happens.

    `opener()` makes what opens the store of one example. `events` are strategies by type, those that hypothesis finds
    by itself unless given. Examples begin with a way to one of the transitions `ways`, any unless given: with one each
    time, none of a large machine is left to chance. Its `seen` are the transitions that were taken: compare them with
    `hops(workflow.machine)`.
    """
    known = {kind: st.from_type(kind) for kind in workflow.machine.events} | dict(events or {})
    attributes = {
        "workflow": workflow,
        "data": data,
        "events": known,
        "opener": staticmethod(opener),
        "ways": ways or hops(workflow.machine),
        "seen": set(),
    }
    return type("ModelOf" + workflow.name.title(), (WorkflowModel,), attributes)
