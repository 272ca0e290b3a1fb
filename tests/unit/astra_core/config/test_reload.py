"""Settings that are swapped while something runs: all of them, or none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from astra_core.config import Entry, Layer, Loaded, Reloader, resolve
from astra_core.errors import ConfigError
from astra_core.events import SettingsRefused, SettingsReloaded, SettingsUnchanged
from astra_core.testing import FakeClock
from tests.unit.astra_core.config.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Callable


class Given:
    """A source that says what the test wants it to."""

    def __init__(self, **web: object) -> None:
        self.web: dict[str, object] = web

    def read(self) -> Layer:
        """Say it."""
        entries = (Entry(path=("web",), value=self.web, origin="given"),)
        return Layer(entries=entries, place=lambda path: f":{len(path)}")


class World:
    """A reloader, what it reads, what was taken, and what was told."""

    def __init__(self, *, restart_keys: Literal["refuse", "pending"] = "refuse", **web: object) -> None:
        self.source = Given(**web)
        self.taken: list[Schema] = []
        self.told: list[object] = []
        self.clock = FakeClock()
        self.reloader = Reloader(
            self.load(),
            load=self.load,
            prepare=self.prepare,
            run=self.run,
            listener=self.told.append,
            clock=self.clock,
            restart_keys=restart_keys,
        )

    def load(self) -> Loaded[Schema]:
        """Read the source."""
        return resolve(Schema, [self.source], environment="test")

    def prepare(self, settings: Schema) -> Callable[[], None]:
        """Refuse one value that only the objects know to be impossible."""
        if settings.web.ratio == 0.25:
            raise ValueError("a quarter is no good")
        return lambda: self.taken.append(settings)

    async def run(self, call: Callable[[], Any]) -> Any:
        """Call, after others had their turn, as a thread would."""
        await asyncio.sleep(0)
        return call()


async def test_what_changed_is_taken_as_a_whole_and_told() -> None:
    """The new settings are in force with a new version, and the event holds every key that differs."""
    world = World(patience=1)
    old = world.reloader.loaded
    world.source.web = {"patience": 2, "on": True}
    world.clock.advance(60)
    assert await world.reloader.reload("files")
    new = world.reloader.loaded
    assert world.taken == [new.settings]
    assert (new.settings.web.patience, new.settings.web.on) == (2.0, True)
    assert (world.reloader.version, world.reloader.applied) == (2, 1)
    assert world.reloader.last_success == world.clock.time()
    assert world.told == [
        SettingsReloaded("files", 2, old.checksum, new.checksum, ("web.patience: 1s -> 2s", "web.on: false -> true"))
    ]


async def test_a_bad_candidate_changes_nothing_and_all_its_problems_are_told() -> None:
    """Whatever else it brings stays out too; the same refusal once more is marked as known."""
    world = World(patience=1)
    before = world.reloader.loaded
    world.source.web = {"patience": "soon", "room": 7, "nonsense": 1}
    for again in (False, True):
        assert not await world.reloader.reload("files")
        told = world.told[-1]
        assert isinstance(told, SettingsRefused)
        assert (told.source, told.checksum, told.again) == ("files", before.checksum, again)
        assert [problem.split(" ")[0] for problem in told.problems] == ["web.patience", "web.nonsense"]
    assert world.reloader.loaded is before
    assert world.taken == []
    assert (world.reloader.version, world.reloader.refused) == (1, 2)
    world.source.web = {"patience": 3}
    assert await world.reloader.reload("files")
    assert world.reloader.problems == ()


async def test_what_the_objects_cannot_take_is_refused_before_any_took_it() -> None:
    """An error while parts are made is a problem of the candidate."""
    world = World()
    world.source.web = {"ratio": 0.25}
    assert not await world.reloader.reload("files")
    assert world.reloader.problems == ("the settings do not go together: a quarter is no good",)
    assert world.taken == []


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OSError(5, "broken"), "the settings could not be read: [Errno 5] broken"),
        (TimeoutError(), "the settings could not be read: TimeoutError"),
        (ConfigError(["away"]), "away"),
        (KeyError("web"), "the settings could not be read: KeyError('web')"),
    ],
)
async def test_a_source_that_fails_is_a_refusal(error: Exception, problem: str) -> None:
    """Nothing is raised into who asked, and the last good settings stay."""
    world = World()

    def fail() -> Layer:
        raise error

    world.source.read = fail  # type: ignore[method-assign]
    assert not await world.reloader.reload("SIGHUP")
    assert world.reloader.version == 1
    assert world.reloader.problems == (problem,)


async def test_what_could_not_be_looked_at_is_a_refusal_until_it_is_read() -> None:
    """The same trouble once more is marked as known, and a good candidate ends it."""
    world = World()
    for again in (False, True):
        world.reloader.missed("files", TimeoutError())
        problems = ("the settings could not be looked at: TimeoutError",)
        assert world.told[-1] == SettingsRefused("files", world.reloader.loaded.checksum, problems, again)
    assert (world.reloader.problems, world.reloader.refused) == (problems, 2)
    assert await world.reloader.reload("files")
    assert world.reloader.problems == ()


async def test_settings_that_did_not_change_keep_their_version() -> None:
    """It is told all the same, since somebody asked, and nothing is taken."""
    world = World(patience=1)
    assert await world.reloader.reload("SIGHUP")
    assert world.told == [SettingsUnchanged("SIGHUP", world.reloader.loaded.checksum)]
    assert (world.reloader.version, world.reloader.unchanged, world.taken) == (1, 1, [])


async def test_a_key_that_needs_a_restart_is_refused_by_its_name() -> None:
    """With the place where it stands; the rest of the candidate stays out with it."""
    world = World(port=8080, patience=1)
    world.source.web = {"port": 9090, "patience": 2}
    assert not await world.reloader.reload("files")
    assert world.reloader.problems == ("web.port (given:2): needs a restart; put the old value back",)
    assert world.reloader.loaded.settings.web.patience == 1.0


async def test_a_key_that_needs_a_restart_may_wait_for_it() -> None:
    """The rest is taken, the key stays as it is, and is named until the sources agree with it again."""
    world = World(restart_keys="pending", port=8080, patience=1)
    world.source.web = {"port": 9090, "patience": 2}
    assert await world.reloader.reload("files")
    web = world.reloader.loaded.settings.web
    assert (web.port, web.patience) == (8080, 2.0)
    assert list(world.reloader.pending) == ["web.port"]
    assert world.reloader.loaded.where("web.port") == "given:2"
    world.source.web = {"port": 9090, "patience": 2, "on": False}
    assert await world.reloader.reload("files")
    assert world.told[-1] == SettingsUnchanged("files", world.reloader.loaded.checksum, ("web.port",))
    world.source.web = {"port": 8080, "patience": 3}
    assert await world.reloader.reload("files")
    assert world.reloader.pending == ()


async def test_a_mixture_of_old_and_new_keys_is_checked_too() -> None:
    """A hot key that goes with the new port alone is refused while the old port holds."""
    world = World(restart_keys="pending", port=50, room=10)
    world.source.web = {"port": 9090, "room": 60}
    assert not await world.reloader.reload("files")
    assert world.reloader.problems == ("web.port: is below web.room (of web.port the old value holds until a restart)",)


async def test_a_secret_that_changed_is_told_without_its_value() -> None:
    """Neither the old nor the new one is in the event."""
    world = World(key="hunter2")
    world.source.web = {"key": "hunter3"}
    assert await world.reloader.reload("files")
    assert isinstance(world.told[-1], SettingsReloaded)
    assert world.told[-1].changes == ("web.key: *** -> *** (another one)",)
    assert "hunter" not in repr(world.told)


async def test_an_older_reading_never_replaces_a_newer_one() -> None:
    """One that was read before a change and is slow on its way does not come after one that was read later."""
    world, gate = World(patience=1), asyncio.Event()

    async def slow(call: Callable[[], Any]) -> Any:
        found = call()
        await gate.wait()
        return found

    world.reloader._run = slow
    world.source.web = {"patience": 2}
    first = asyncio.create_task(world.reloader.reload("files"))
    await asyncio.sleep(0)
    world.reloader._run = world.run
    world.source.web = {"patience": 3}
    second = asyncio.create_task(world.reloader.reload("SIGHUP"))
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, second)
    assert world.reloader.loaded.settings.web.patience == 3.0


async def test_two_who_ask_at_once_take_turns() -> None:
    """The second one reads when the first has swapped, so the last to ask has seen the last state."""
    world = World(patience=1)
    world.source.web = {"patience": 2}
    first = asyncio.create_task(world.reloader.reload("files"))
    await asyncio.sleep(0)
    second = asyncio.create_task(world.reloader.reload("SIGHUP"))
    await asyncio.gather(first, second)
    assert [type(event).__name__ for event in world.told] == ["SettingsReloaded", "SettingsUnchanged"]
