"""The whole application in one process: its life, its promises at the beginning and at the end."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from app.main import Application, check_store, compose
from app.main.application import reason_of
from app.main.compose import compose_store
from app.settings import Cache, Clicks, Metrics, Server, Settings, Store
from astra_core.config import as_loaded
from astra_core.errors import ConfigError, StorageError, StoreUnavailable
from astra_core.testing import FakeClock
from tests.unit.app.clicks.doubles import until
from tests.unit.astra_core.asgi.driver import Server as Client
from tests.unit.astra_core.asgi.driver import call, http_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.asgi import Message
    from astra_core.telemetry import Logs

JSON = [(b"host", b"localhost"), (b"content-type", b"application/json")]


def settings(folder: Path, *, store: str = "sqlite", **server: Any) -> Settings:
    """Return settings with everything in `folder`, and short intervals."""
    return Settings(
        store=Store(url="memory:" if store == "memory" else f"sqlite:{folder / 'astra.db'}"),
        clicks=Clicks(journal=str(folder / "journal"), apply_interval=0.01, segment_size=64 * 1024),
        cache=Cache(poll_interval=0.005),
        server=Server(**server),
        metrics=Metrics(folder=str(folder / "metrics")),
    )


class Lifespan:
    """A server's side of the lifespan protocol."""

    def __init__(self, app: Application) -> None:
        self.sent: list[Message] = []
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._events.put_nowait({"type": "lifespan.startup"})
        self.task = asyncio.create_task(self._run(app))

    async def _run(self, app: Application) -> None:
        await app({"type": "lifespan"}, self._events.get, self.send)

    async def send(self, message: Message) -> None:
        """Keep a message."""
        self.sent.append(message)

    async def stop(self) -> None:
        """Shut down and wait for the end."""
        self._events.put_nowait({"type": "lifespan.shutdown"})
        await self.task

    @property
    def types(self) -> list[str]:
        """What was sent."""
        return [message["type"] for message in self.sent]


@asynccontextmanager
async def running(given: Settings, *, logs: Logs | None = None) -> AsyncIterator[Application]:
    """Start an application, and stop it."""
    app = compose(as_loaded(given), logs=logs)
    await app.open()
    try:
        yield app
    finally:
        await app.close()


async def create(app: Application, **members: object) -> dict[str, Any]:
    """Create a link over HTTP."""
    body = json.dumps({"url": "https://example.com/x", **members}).encode()
    server = await call(app, http_scope("/v1/links", method="POST", headers=JSON), body)
    assert server.status == 201, server.body
    answer: dict[str, Any] = json.loads(server.body)
    return answer


async def visits(app: Application, code: str) -> int:
    """Ask for the count of a link."""
    server = await call(app, http_scope(f"/v1/links/{code}", headers=JSON))
    count: int = json.loads(server.body)["visits"]
    return count


async def counted(app: Application, code: str, wanted: int) -> None:
    """Wait until a link has its visits."""
    for _ in range(1000):
        if (found := await visits(app, code)) == wanted:
            return
        assert found < wanted
        await asyncio.sleep(0.01)
    raise AssertionError(f"{found} of {wanted} visits")


def test_composing_touches_nothing(tmp_path: Path) -> None:
    """Objects are built without a loop, a file or a thread."""
    compose(as_loaded(settings(tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", ["sqlite", "memory"])
async def test_a_link_is_created_followed_and_counted(tmp_path: Path, store: str) -> None:
    """The main job, with either store."""
    async with running(settings(tmp_path, store=store)) as app:
        code = (await create(app))["code"]
        for _ in range(3):
            server = await call(app, http_scope("/" + code))
            assert (server.status, server.headers[b"location"]) == (302, b"https://example.com/x")
        await counted(app, code, 3)


async def test_what_was_counted_survives_the_process(tmp_path: Path) -> None:
    """Clicks of the last moment are counted at the end; nothing is counted twice, and no segment stays."""
    async with running(settings(tmp_path)) as app:
        code = (await create(app))["code"]
        await call(app, http_scope("/" + code))
        await counted(app, code, 1)
        await call(app, http_scope("/" + code))
    assert not [path for path in (tmp_path / "journal").rglob("*") if path.is_file()]
    async with running(settings(tmp_path)) as app:
        assert await visits(app, code) == 2
        await call(app, http_scope("/" + code))
    async with running(settings(tmp_path)) as app:
        assert await visits(app, code) == 3


async def test_two_applications_on_one_store_tell_each_other(tmp_path: Path) -> None:
    """A link made by one redirects through the other, which had called it unknown."""
    async with running(settings(tmp_path)) as one, running(settings(tmp_path)) as other:
        assert (await call(other, http_scope("/custom"))).status == 404
        await create(one, code="custom")
        for _ in range(1000):
            if (await call(other, http_scope("/custom"))).status == 302:
                break
            await asyncio.sleep(0.001)
        else:
            raise AssertionError("the other never heard of it")


async def test_the_lifespan_from_begin_to_end(tmp_path: Path) -> None:
    """Complete, serve, complete."""
    app = compose(as_loaded(settings(tmp_path)))
    lifespan = Lifespan(app)
    await until(lambda: lifespan.sent)
    code = (await create(app))["code"]
    assert (await call(app, http_scope("/" + code))).status == 302
    await lifespan.stop()
    assert lifespan.types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("blocked", ["astra.db", "journal"])
async def test_a_start_that_fails_is_one_line_and_serves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, blocked: str
) -> None:
    """A database that is a folder, a journal that is a file: refused, said once, everything closed again."""
    (tmp_path / blocked).mkdir() if blocked == "astra.db" else (tmp_path / blocked).touch()
    lifespan = Lifespan(compose(as_loaded(settings(tmp_path))))
    await lifespan.task
    assert lifespan.types == ["lifespan.startup.failed"]
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert blocked in line
    assert "Traceback" not in caplog.text


async def test_a_start_that_fails_and_cannot_be_undone_is_refused_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What fails while all is closed again is logged, and the lifespan has its answer."""

    class Stuck(Application):
        async def open(self) -> None:
            raise IndexError("no such thing")

        async def close(self) -> None:
            raise RuntimeError("nor that")

    app = compose(as_loaded(settings(tmp_path)))
    app.__class__ = Stuck
    lifespan = Lifespan(app)
    await lifespan.task
    assert lifespan.types == ["lifespan.startup.failed"]
    assert capsys.readouterr().err == "astra: cannot start: IndexError: no such thing\n"
    assert "RuntimeError: nor that" in caplog.text


async def test_draining_is_unready_and_cancels_what_takes_too_long(tmp_path: Path) -> None:
    """From the signal on `/readyz` says so; a request still under way after the drain timeout answers 503."""
    async with running(settings(tmp_path, drain_timeout=0.05)) as app:
        slow = Client()
        hang = asyncio.Event()
        begun = asyncio.Event()

        async def receive() -> Message:
            begun.set()
            await hang.wait()
            return {"type": "http.disconnect"}

        async def post() -> None:
            await app(http_scope("/v1/links", method="POST", headers=JSON), receive, slow.send)

        task = asyncio.create_task(post())
        await begun.wait()
        assert (await call(app, http_scope("/readyz"))).status == 200
        app.drain()
        draining = await call(app, http_scope("/readyz"))
        assert (draining.status, json.loads(draining.body)["status"]) == (503, "draining")
        await asyncio.wait([task], timeout=10)
        assert slow.problem["type"] == "urn:astra:problem:shutting-down"


async def test_readiness_tells_the_figures_of_each_dependency(tmp_path: Path) -> None:
    """Hits, misses, clicks and changes are there to be read."""
    async with running(settings(tmp_path)) as app:
        code = (await create(app))["code"]
        for _ in range(3):
            await call(app, http_scope("/" + code))
        await counted(app, code, 3)
        answer = json.loads((await call(app, http_scope("/readyz"))).body)
    assert answer["status"] == "ready"
    dependencies = answer["dependencies"]
    assert set(dependencies) == {"store", "changes", "cache", "clicks"}
    assert all(dependency["ok"] for dependency in dependencies.values())
    assert dependencies["cache"]["hits"] + dependencies["cache"]["misses"] == 3
    clicks = dependencies["clicks"]
    assert [clicks[name] for name in ("recorded", "counted", "dropped", "lost", "failures")] == [3, 3, 0, 0, 0]
    assert dependencies["changes"]["seq"] >= 1


async def test_closing_twice_or_unopened_is_no_error(tmp_path: Path) -> None:
    """A start that fails half-way closes what was never opened."""
    app = compose(as_loaded(settings(tmp_path)))
    await app.close()
    async with running(settings(tmp_path)):
        pass


async def test_the_store_can_be_checked_alone(tmp_path: Path) -> None:
    """It opens and closes again; one that cannot be used raises."""
    await check_store(settings(tmp_path))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "astra.db").write_bytes(b"no database at all, not a bit of it" * 100)
    with pytest.raises(StorageError):
        await check_store(settings(tmp_path / "bad"))


def test_reads_that_may_run_and_wait_are_as_many_as_the_settings_say() -> None:
    """The threads, and the places before them."""
    _, (_, readers) = compose_store(Settings(store=Store(url="memory:", readers=3, read_queue=7)), FakeClock())
    assert (readers.size, readers.limit) == (3, 10)


def test_a_reason_is_one_line() -> None:
    """Whatever the error."""
    assert reason_of(ConfigError(["one", "two"])) == "one; two"
    assert reason_of(FileNotFoundError(2, "No such file or directory", "/x")) == "/x: No such file or directory"
    assert reason_of(StoreUnavailable("gone")) == "gone"
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(IndexError("out of range")) == "IndexError: out of range"
