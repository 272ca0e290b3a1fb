"""Settings that change while the application runs: every hot key reaches an object, and objects keep their state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from app.main import Application, compose
from app.main.reloading import Sources
from app.settings import Breaker, Cache, Messaging, Safeguards, Settings, Store, Tracing
from astra_core.config import Entry, Layer, as_loaded, keys_of, resolve
from astra_core.errors import ConfigError, StoreUnavailable
from astra_core.telemetry import Logs
from tests.unit.app.main.test_application import create, running, settings
from tests.unit.astra_core.asgi.driver import call, http_scope

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astra_core.config import Key, Loaded

HOT = [key for key in keys_of(Settings) if key.hot]


def value(given: Settings, key: Key) -> Any:
    """Return what `given` holds for `key`."""
    found: Any = given
    for name in key.path:
        found = getattr(found, name)
    return found


def other(key: Key, old: Any) -> Any:
    """Return another value that `key` might have."""
    match key.kind:
        case "flag":
            return not old
        case "choice":
            choices = [choice for choice in key.type.__args__ if choice != old]
            return choices[0]
        case "integer" | "size":
            return old + 1
        case "duration" | "number":
            return 0.5 if old is None else old * 0.5 + 0.011
    raise AssertionError(key.kind)


def put(section: Any, path: tuple[str, ...], new: Any) -> Any:
    """Return `section` with another value at `path`."""
    name, *rest = path
    return msgspec.structs.replace(section, **{name: put(getattr(section, name), tuple(rest), new) if rest else new})


@pytest.mark.parametrize("key", HOT, ids=[key.name for key in HOT])
async def test_every_hot_key_reaches_an_object(key: Key, tmp_path: Path) -> None:
    """Alone changed, it changes what somebody takes: no key is called hot that nothing follows."""
    given = msgspec.structs.replace(
        settings(tmp_path, store="memory"),
        tracing=Tracing(endpoint="http://127.0.0.1:9"),
        messaging=Messaging(url="memory:"),
    )
    async with running(given, logs=Logs()) as app:
        await call(app, http_scope("/v1/links"))  # the breaker of a route is made with its first request
        assert app.live.changed(put(given, key.path, other(key, value(given, key))))
        assert not app.live.changed(given)


async def reloaded(app: Application, new: Settings) -> None:
    """Put `new` in force."""
    app.live.prepare(new)()


async def test_a_breaker_that_is_open_stays_open_with_its_new_parameters(tmp_path: Path) -> None:
    """The reload neither closes it nor makes another one; the next opening lasts as the new settings say."""
    quick = Safeguards(breaker=Breaker(minimum_calls=1, open_for=30.0, open_jitter=0.0))
    given = msgspec.structs.replace(settings(tmp_path), store=Store(url="memory:", reads=quick, writes=quick))
    async with running(given) as app:
        policy = app._store._reads  # type: ignore[attr-defined]
        policy.breaker.force_open()
        before = policy.breaker
        await reloaded(app, put(given, ("store", "reads", "breaker", "open_for"), 60.0))
        assert policy.breaker is before
        assert policy.breaker.circuit_state == "forced open"
        assert policy.breaker.parameters.open_for == 60.0
        with pytest.raises(StoreUnavailable):
            await app._store.get("links", "abc")


async def test_a_cache_that_was_made_smaller_evicts(tmp_path: Path) -> None:
    """Down to its new size, in the background; what is left is served as before."""
    given = msgspec.structs.replace(settings(tmp_path), cache=Cache(poll_interval=0.005, entries=100))
    async with running(given) as app:
        codes = [(await create(app))["code"] for _ in range(20)]
        await app._follower.follow()  # their creation is a change, which drops what is known of them
        for code in codes:
            assert (await call(app, http_scope(f"/{code}"))).status == 302
        assert len(app._resolver.entries) == 20
        await reloaded(app, put(given, ("cache", "entries"), 5))
        async with asyncio.timeout(10):
            while len(app._resolver.entries) > 5:  # noqa: ASYNC110 - it is the application that trims
                await asyncio.sleep(0.01)
        for code in codes:
            assert (await call(app, http_scope(f"/{code}"))).status == 302
        assert len(app._resolver.entries) <= 5


async def test_new_rules_hold_for_requests_that_come_from_then_on(tmp_path: Path) -> None:
    """The default status and `max-age` of redirects; a link keeps the status that it was made with."""
    given = settings(tmp_path)
    async with running(given) as app:
        old = (await create(app))["code"]
        new = put(put(given, ("links", "redirect_status"), 307), ("cache", "max_age"), 60.0)
        await reloaded(app, new)
        fresh = await create(app)
        assert fresh["redirect_status"] == 307
        answer = await call(app, http_scope(f"/{old}"))
        assert answer.status == 302
        assert answer.headers[b"cache-control"] == b"private, max-age=60"
        again = await call(app, http_scope(f"/{old}"))  # from memory this time
        assert again.headers[b"cache-control"] == b"private, max-age=60"


async def test_a_request_goes_by_what_was_in_force_when_it_came(tmp_path: Path) -> None:
    """A body that arrives after a reload is read, and its link made, by the rules of before."""
    given = settings(tmp_path)
    async with running(given) as app:
        arrives = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> Any:
            await arrives.wait()
            return {"type": "http.request", "body": b'{"url": "https://example.com/late"}'}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        request = asyncio.ensure_future(app(http_scope("/v1/links", method="POST", headers=headers), receive, send))
        await asyncio.sleep(0.05)
        await reloaded(app, put(put(given, ("links", "redirect_status"), 307), ("server", "max_body"), 1024))
        arrives.set()
        await request
        assert sent[0]["status"] == 201
        assert b'"redirect_status":302' in sent[1]["body"]
        assert (await create(app))["redirect_status"] == 307


async def test_readiness_shows_version_and_checksum(tmp_path: Path) -> None:
    """And what waits for a restart, and why the last candidate was refused."""
    found: dict[str, Loaded[Settings]] = {"now": as_loaded(settings(tmp_path))}
    app = compose(found["now"], sources=Sources(load=lambda: found["now"]))
    await app.open()
    try:
        assert app._reloading is not None
        found["now"] = as_loaded(put(settings(tmp_path), ("cache", "ttl"), 9.0))
        assert await app._reloading.reloader.reload("test")
        server = await call(app, http_scope("/readyz"))
        shown = msgspec.json.decode(server.body)["dependencies"]["settings"]
        assert (shown["version"], shown["checksum"]) == (2, found["now"].checksum)
        page = (await call(app, http_scope("/metrics"))).body.decode()
        labels = f'checksum="{found["now"].checksum}",environment="test",version="2"'
        assert f"astra_config_info{{{labels}}} 1.0" in page
        assert page.count("astra_config_info{") == 1
        assert 'astra_config_reloads_total{result="applied"} 1.0' in page
        assert "astra_config_refused 0.0" in page
        assert app._resolver.ttl == 9.0
        found["now"] = as_loaded(put(settings(tmp_path), ("server", "port"), 1))
        assert not await app._reloading.reloader.reload("test")
        server = await call(app, http_scope("/readyz"))
        shown = msgspec.json.decode(server.body)["dependencies"]["settings"]
        assert "astra_config_refused 1.0" in (await call(app, http_scope("/metrics"))).body.decode()
        assert shown["problems"] == ["server.port (code): needs a restart; put the old value back"]
    finally:
        await app.close()


class Cluster:
    """A coordination service as a source of settings: it says what the test wants, breaks, and loses its connection."""

    def __init__(self) -> None:
        self.says: object = {"ttl": "5s"}
        self.happenings: asyncio.Queue[Exception | None] = asyncio.Queue()

    def read(self) -> Layer:
        """Say it, or that it cannot be read."""
        if self.says is None:
            raise ConfigError(["the cluster: its settings cannot be read"])
        return Layer(entries=(Entry(path=("cache",), value=self.says, origin="the cluster"),))

    async def changed(self) -> None:
        """Wait for what happens."""
        if (error := await self.happenings.get()) is not None:
            raise error


async def test_a_watched_source_is_followed_through_changes_breaks_and_disconnections(tmp_path: Path) -> None:
    """What it says is in force soon; what is broken changes nothing; after a lost connection it is heard again."""
    cluster = Cluster()
    base = settings(tmp_path)

    def load() -> Loaded[Settings]:
        found = resolve(Settings, [cluster], environment="test").settings
        return as_loaded(msgspec.structs.replace(base, cache=msgspec.structs.replace(base.cache, ttl=found.cache.ttl)))

    app = compose(load(), sources=Sources(load=load, watched={"the cluster": cluster}))
    await app.open()

    async def until(there: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not there():  # noqa: ASYNC110 - it is the application that follows
                await asyncio.sleep(0.005)

    try:
        assert app._reloading is not None
        reloader = app._reloading.reloader
        cluster.says = {"ttl": "7s"}
        cluster.happenings.put_nowait(None)
        await until(lambda: app._resolver.ttl == 7.0)
        for broken in (None, {"ttl": "soon"}, {"nonsense": 1}):
            refused = reloader.refused
            cluster.says = broken
            cluster.happenings.put_nowait(None)
            await until(lambda refused=refused: reloader.refused == refused + 1)  # type: ignore[misc]
            assert app._resolver.ttl == 7.0
        cluster.happenings.put_nowait(OSError("cut"))
        cluster.says = {"ttl": "9s"}
        cluster.happenings.put_nowait(None)
        await until(lambda: app._resolver.ttl == 9.0)
        assert reloader.version == 3
    finally:
        await app.close()
