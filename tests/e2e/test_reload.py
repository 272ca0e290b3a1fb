"""Settings that change under load: nothing fails, nothing is mixed, and the last good ones are always in force."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import signal
import statistics
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest

from app.settings import load_settings
from astra_core.errors import ConfigError
from tests.e2e.faults.client import Connection
from tests.e2e.faults.servers import FULL, Data, seeded, until

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process

RELOADS = 1_000 if FULL else 40
WATCHERS = 10
"""Connections that watch; with two workers both have some, but for one run in five hundred."""
STATUSES = (301, 302, 307, 308)
LONG = "https://example.com/" + "x" * 70_000
"""Longer than any `max_url` may allow: the refusal names the limit that was in force."""


def text(number: int, **more: object) -> str:
    """Return settings whose keys belong together: a default status, and a limit that says which one it is."""
    status = STATUSES[number % 4]
    keys = {"redirect_status": status, "max_url": 1_000 * status + number % 1_000, **more}
    if keys["max_url"] == 0 or int(str(keys["max_url"])) > 65_536:
        keys["max_url"] = 10 * status + number % 10 + 1_000
    lines = "".join(f"  {name}: {value}\n" for name, value in keys.items())
    return f"links:\n{lines}cache:\n  ttl: {5_000 + number}ms\n"


@dataclass
class Mixed:
    """What the load saw."""

    pairs: set[tuple[int, int]] = field(default_factory=set)
    redirects: int = 0
    writes: int = 0
    failures: list[str] = field(default_factory=list)


class Folder:
    """The settings of a running service, and every way in which they can change."""

    def __init__(self, root: Path, chance: random.Random, environ: dict[str, str]) -> None:
        self.root = root
        self.file = root / "staging.yaml"
        self.chance = chance
        self.environ = environ
        self.allowed: set[tuple[int, int]] = set()
        self.checksum = ""
        self.number = 0
        self.write(text(0))

    def settle(self) -> bool:
        """Note what the files say now; returns whether that is good, and another one than before."""
        try:
            loaded = load_settings(self.environ)
        except ConfigError:
            return False
        if loaded.settings.server.max_body != 1024**2:
            return False  # this one needs no restart, so it is not refused: it is never written here
        if loaded.settings.links.page_size != 50:
            return False  # refused, for it needs a restart
        links = loaded.settings.links
        self.allowed.add((links.redirect_status, links.max_url))
        changed, self.checksum = loaded.checksum != self.checksum, loaded.checksum
        return changed

    def write(self, content: str) -> None:
        """Replace the file as a whole."""
        other = self.root / "next.tmp"
        other.write_text(content)
        other.rename(self.file)
        self.settle()

    def good(self) -> None:
        """Other settings, replaced as a whole."""
        self.write(text(self.number))

    def in_place(self) -> None:
        """Other settings, written over the old ones."""
        if self.file.is_symlink():
            self.file.unlink()
        self.file.write_text(text(self.number))
        self.settle()

    def broken(self) -> None:
        """YAML that cannot be read."""
        self.write(text(self.number) + f'broken{self.number}: [1, "\n')

    def wrong_type(self) -> None:
        """A word for a number."""
        self.write(text(self.number, page_size=f"many{self.number}"))

    def out_of_range(self) -> None:
        """More than there may be."""
        self.write(text(self.number, max_url=70_000 + self.number))

    def unknown(self) -> None:
        """A key that does not exist."""
        self.write(text(self.number, **{f"key{self.number}": 1}))

    def restart_only(self) -> None:
        """A key that this process cannot change."""
        self.write(text(self.number, page_size=51 + self.number % 100))

    def missing(self) -> None:
        """No file for the environment."""
        self.file.unlink(missing_ok=True)

    def half_written(self) -> None:
        """The first part of other settings, and after a while the rest."""
        content = text(self.number)
        cut = self.chance.randrange(1, len(content))
        if self.file.is_symlink():
            self.file.unlink()
        with self.file.open("w") as file:
            file.write(content[:cut])
            file.flush()
            self.settle()  # part of a file may be good settings too
            time.sleep(self.chance.uniform(0.0, 0.2))
            file.write(content[cut:])
        self.settle()

    def swap(self) -> None:
        """A link that points to another version, as a mounted ConfigMap changes."""
        version = self.root / f"..{self.number}"
        version.mkdir()
        (version / "staging.yaml").write_text(text(self.number))
        link = self.root / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.root / "..data")
        entry = self.root / "entry.tmp"
        entry.symlink_to("..data/staging.yaml")
        entry.rename(self.file)
        self.settle()

    def change(self) -> str:
        """Do one of these; returns its name."""
        self.number += 1
        kinds: list[Callable[[], None]] = [
            *(self.good, self.in_place, self.broken, self.wrong_type, self.out_of_range, self.unknown),
            *(self.restart_only, self.missing, self.half_written, self.swap),
        ]
        kind = self.chance.choice(kinds)
        kind()
        return kind.__name__


async def redirects(port: int, path: str, seen: Mixed) -> None:
    """Follow one link, for ever."""
    async with Connection(port) as connection:
        while True:
            answer = await connection.get(path)
            seen.redirects += 1
            if answer.status != 302:
                seen.failures.append(f"redirect: {answer}")
            await asyncio.sleep(0.001)


async def writes(port: int, seen: Mixed) -> None:
    """Create links in pairs whose answers tell two keys of the settings, for ever."""
    numbers = itertools.count()
    async with Connection(port) as connection:
        while True:
            batch = {"links": [{"url": f"https://example.com/{next(numbers)}"}, {"url": LONG}]}
            answer = await connection.post("/v1/links/batch", batch)
            seen.writes += 1
            if answer.status != 200:
                seen.failures.append(f"write: {answer}")
                continue
            made, refused = answer.json()["results"]
            if (made["status"], refused["status"]) != (201, 422):
                seen.failures.append(f"write: {answer}")
                continue
            limit = int(refused["problem"]["errors"][0]["detail"].split()[4])
            seen.pairs.add((made["link"]["redirect_status"], limit))
            await asyncio.sleep(0.002)


@asynccontextmanager
async def load(port: int) -> AsyncIterator[Mixed]:
    """Redirects and writes over connections to both workers, meanwhile."""
    seen = Mixed()
    async with Connection(port) as connection:
        made = await connection.post("/v1/links", {"url": "https://example.com/", "redirect_status": 302})
    path = "/" + made.json()["code"]
    tasks = [asyncio.create_task(redirects(port, path, seen)) for _ in range(4)]
    tasks += [asyncio.create_task(writes(port, seen)) for _ in range(4)]
    try:
        yield seen
        assert not [task for task in tasks if task.done()], "a client died"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Watchers:
    """Look at `/readyz` over several connections, so at every worker."""

    def __init__(self, port: int) -> None:
        self.connections = [Connection(port) for _ in range(WATCHERS)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self.connections:
            await connection.__aexit__()

    async def look(self) -> list[dict[str, Any]]:
        """Return what each says of the settings."""
        answers = await asyncio.gather(*(connection.get("/readyz") for connection in self.connections))
        return [answer.json()["dependencies"]["settings"] for answer in answers]

    async def until(self, what: str, there: Callable[[dict[str, Any]], bool]) -> float:
        """Wait until all of them say so, and return the seconds."""
        began = time.monotonic()
        while not all(map(there, found := await self.look())):
            assert time.monotonic() < began + 20.0, f"{what}: {found}"
            await asyncio.sleep(0.005)
        return time.monotonic() - began


def started(launch: Launcher, tmp_path: Path, *, workers: int, **settings: str) -> tuple[Process, dict[str, str]]:
    """Serve the folder `settings` of the test."""
    (tmp_path / "settings").mkdir(exist_ok=True)
    environ = {
        "ASTRA_ENV": "staging",
        "ASTRA_SETTINGS": str(tmp_path / "settings"),
        **Data(tmp_path).environ(METRICS__FOLDER=str(tmp_path / "metrics"), LOG__LEVEL="info", **settings),
    }
    return launch.serve("--workers", str(workers), env=environ).ready(), environ


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_random_reloads_under_load_fail_and_mix_nothing(launch: Launcher, tmp_path: Path) -> None:
    """Good and bad changes of every kind on two workers: the last good settings are in force, whatever comes."""
    chance = seeded("reloads")
    (tmp_path / "settings").mkdir()
    probe = {"ASTRA_ENV": "staging", "ASTRA_SETTINGS": str(tmp_path / "settings")}
    folder = Folder(tmp_path / "settings", chance, probe)
    process, environ = started(launch, tmp_path, workers=2)
    assert process.port is not None
    # What `serve` adds for its workers is part of what they compare.
    folder.environ = {**environ, "ASTRA_SERVER__PORT": str(process.port), "ASTRA_SERVER__WORKERS": "2"}
    folder.settle()
    times: list[float] = []
    kinds: dict[str, int] = {}
    async with Watchers(process.port) as watchers, load(process.port) as seen:
        await watchers.until("begun", lambda shown: bool(shown["checksum"] == folder.checksum))
        for _ in range(RELOADS):
            before = folder.checksum
            kind = folder.change()
            kinds[kind] = kinds.get(kind, 0) + 1
            try:
                load_settings(folder.environ)
                good = kind != "restart_only"
            except ConfigError:
                good = False
            wanted = folder.checksum

            def settled(shown: dict[str, Any], *, good: bool = good, wanted: str = wanted) -> bool:
                return shown["checksum"] == wanted and (not shown["problems"]) is good

            seconds = await watchers.until(kind, settled)
            if kind in ("good", "in_place", "swap") and wanted != before:
                times.append(seconds)
    assert seen.failures == []
    assert seen.pairs <= folder.allowed
    assert len(seen.pairs) > 5
    times.sort()
    print(
        f"\n{RELOADS} reloads {kinds} under {seen.redirects} redirects and {seen.writes} writes: 0 failed, 0 mixed of "
        f"{len(seen.pairs)} snapshots seen; change to effect on every worker: median "
        f"{statistics.median(times) * 1000:.0f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.0f} ms, "
        f"longest {times[-1] * 1000:.0f} ms"
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("to", ["serve", "one worker"])
async def test_sighup_reloads(launch: Launcher, tmp_path: Path, to: str) -> None:
    """Sent to `serve` it reaches every worker, sent to a worker that one alone; files are not watched meanwhile."""
    (tmp_path / "settings").mkdir()
    file = tmp_path / "settings" / "staging.yaml"
    file.write_text("cache: {ttl: 6s}\n")
    process, _ = started(launch, tmp_path, workers=2, RELOAD__WATCH="false")
    process.until("2 workers", lambda: len(process.workers()) == 2)
    assert process.port is not None
    async with Watchers(process.port) as watchers:
        first = (await watchers.look())[0]["checksum"]
        file.write_text("cache: {ttl: 7s}\n")
        await asyncio.sleep(0.3)
        assert {shown["checksum"] for shown in await watchers.look()} == {first}
        if to == "serve":
            process.signal(signal.SIGHUP)
            await watchers.until("reloaded", lambda shown: shown["version"] == 2)
        else:
            os.kill(min(process.workers()), signal.SIGHUP)

            async def one_has() -> bool:
                return process.stderr.count("settings reloaded by SIGHUP") == 1

            await until("reloaded", one_has)
            assert {shown["version"] for shown in await watchers.look()} <= {1, 2}
    assert len(process.workers()) == 2
    process.signal(signal.SIGTERM)
    assert process.code() == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("server", "restarts"),
    [("uvicorn", False), ("uvicorn --workers 2", True), ("hypercorn --workers 2", True), ("hypercorn -w 0", False)],
)
def test_sighup_under_the_bare_commands_is_what_the_docs_say(
    launch: Launcher, tmp_path: Path, server: str, restarts: bool
) -> None:
    """A single process reads its settings again; a server's own parent restarts its workers, which then read them."""
    (tmp_path / "settings").mkdir()
    file = tmp_path / "settings" / "staging.yaml"
    file.write_text("cache: {ttl: 6s}\n")
    environ = {
        "ASTRA_ENV": "staging",
        "ASTRA_SETTINGS": str(tmp_path / "settings"),
        **Data(tmp_path).environ(METRICS__FOLDER=str(tmp_path / "metrics"), RELOAD__WATCH="false"),
    }
    process = launch.bare(server, env=environ).ready()
    count = 2 if restarts else 0
    process.until("workers", lambda: len(process.workers()) == count)
    pids, first = process.workers(), _settings_of(process)
    file.write_text("cache: {ttl: 7s}\n")
    process.signal(signal.SIGHUP)
    process.until("others", lambda: len(process.workers() - pids) == count)
    process.until("read", lambda: _settings_of(process)["checksum"] not in {"", first["checksum"]})
    assert _settings_of(process)["version"] == (1 if restarts else 2)
    assert process.popen.poll() is None


def _settings_of(process: Process) -> dict[str, Any]:
    """Return what `/readyz` says of the settings; nothing while nobody answers."""
    try:
        shown: dict[str, Any] = json.loads(process.get("/readyz")[1])["dependencies"]["settings"]
    except (OSError, http.client.HTTPException):
        return {"checksum": "", "version": 0}
    return shown


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_secrets_that_are_mounted_are_watched_too(launch: Launcher, tmp_path: Path) -> None:
    """The folder of secrets changes as Kubernetes changes it: by a link to another version of all of them."""
    secrets = tmp_path / "secrets"
    for version, ttl in (("..1", "6s\n"), ("..2", "7s\n")):
        (secrets / version).mkdir(parents=True)
        (secrets / version / "cache.ttl").write_text(ttl)
    (secrets / "..data").symlink_to("..1")
    (secrets / "cache.ttl").symlink_to("..data/cache.ttl")
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "staging.yaml").write_text("")
    environ = {"ASTRA_ENV": "staging", "ASTRA_SETTINGS": str(tmp_path / "settings"), "ASTRA_SECRETS": str(secrets)}
    environ |= Data(tmp_path).environ(METRICS__FOLDER=str(tmp_path / "metrics"), LOG__LEVEL="info")
    process = launch.serve("--workers", "2", env=environ).ready()
    process.until("2 workers", lambda: len(process.workers()) == 2)
    assert process.port is not None
    async with Watchers(process.port) as watchers:
        assert {shown["version"] for shown in await watchers.look()} == {1}
        (secrets / "..new").symlink_to("..2")
        (secrets / "..new").rename(secrets / "..data")
        await watchers.until("reloaded", lambda shown: shown["version"] == 2)
    process.until("told", lambda: process.stderr.count("cache.ttl: 6s -> 7s") >= 2)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_refused_candidate_is_logged_once_and_a_secret_never(launch: Launcher, tmp_path: Path) -> None:
    """One worker polls and watches a file that stays broken: one line, with the remedy and without the value."""
    (tmp_path / "settings").mkdir()
    file = tmp_path / "settings" / "staging.yaml"
    file.write_text("cache: {ttl: 6s}\n")
    process, _ = started(launch, tmp_path, workers=1, RELOAD__POLL_INTERVAL="100ms")
    assert process.port is not None
    async with Watchers(process.port) as watchers:
        file.write_text("cache: {ttl: soon}\ncodes: {key: hunter2}\n")
        await watchers.until("refused", lambda shown: len(shown["problems"]) >= 1)
        await asyncio.sleep(0.5)
    assert process.stderr.count("settings of files refused") == 1
    assert "hunter2" not in process.stderr + process.stdout
