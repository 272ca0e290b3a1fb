"""The settings of the shortener but those of its policies; `docs/settings.md` is made from these files."""

import re
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from app.settings.engines import Coordination, Messaging, engine_problem
from app.settings.imports import Imports
from app.settings.policies import Protection, Safeguards
from app.settings.reload import Reload
from app.settings.server import Server
from app.settings.telemetry import Log, Metrics, Tracing
from astra_core.config import Duration, Loaded, Problem, Secret, Section, Size, hot, load, restart

__all__ = ["ENVIRONMENTS", "Cache", "Clicks", "Codes", "Links", "Settings", "Store", "load_settings"]

ENVIRONMENTS: Final = ("development", "staging", "production", "test")
"""The environments that exist without a settings folder; with one, each has its file."""


class Store(Section, frozen=True, kw_only=True):
    """The database of links, and how long a request waits for it."""

    url: Annotated[
        str, restart("`sqlite:PATH` (a path relative to the working directory, or absolute), or `memory:` for trials.")
    ] = "sqlite:./data/astra.db"
    write_deadline: Annotated[
        Duration, hot("A write that is not committed within this time, retries included, answers 503.", ge=0.01, le=60)
    ] = 2.0
    read_deadline: Annotated[
        Duration, hot("A read that has no answer within this time counts as a store that is away.", ge=0.01, le=1)
    ] = 1.0
    readers: Annotated[int, restart("Threads that read, each with its own connection.", ge=1, le=64)] = 2
    write_queue: Annotated[
        int, restart("Writes that may wait for the writer; more are refused with 503 at once.", ge=1, le=1_000_000)
    ] = 10_000
    read_queue: Annotated[
        int, restart("Reads that may wait for a thread; more are refused with 503 at once.", ge=1, le=1_000_000)
    ] = 1_000
    group_size: Annotated[int, restart("Most writes that share one commit.", ge=1, le=10_000)] = 256
    changes_kept: Annotated[
        int,
        hot(
            "Changes kept for other workers; one that falls further behind clears its cache.", ge=1_000, le=100_000_000
        ),
    ] = 100_000
    reads: Safeguards = msgspec.field(default_factory=Safeguards)
    writes: Safeguards = msgspec.field(default_factory=Safeguards)

    @property
    def engine(self) -> Literal["sqlite", "memory"]:
        """Which engine `url` names."""
        return "memory" if self.url == "memory:" else "sqlite"

    @property
    def path(self) -> Path:
        """The file that `url` names, of an engine that has one."""
        return Path(self.url.partition(":")[2])

    def check(self, environment: str) -> Iterable[Problem]:
        """The URL names an engine that is built. It is never shown: it may come to hold a password."""
        if text := _store_problem(self.url):
            yield Problem(key="url", text=text)


class Links(Section, frozen=True, kw_only=True):
    """What a link may be, and how links are listed."""

    base_url: Annotated[
        str | None, restart("What short URLs begin with, such as `https://exa.mp`; null takes the request's host.")
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        restart(
            "Names of this service: a Host header that may stand in a short URL, and never a link's target.",
            min_length=1,
        ),
    ] = ("localhost", "127.0.0.1", "[::1]")
    allow_credentials: Annotated[bool, hot("Take target URLs that hold a user name or password.")] = False
    max_url: Annotated[int, hot("Most characters of a target URL.", ge=64, le=65_536)] = 8_192
    redirect_status: Annotated[
        Literal[301, 302, 307, 308],
        hot("Status of a redirect where the link names none; browsers keep 301 and 308, so their clicks are lost."),
    ] = 302
    page_size: Annotated[int, restart("Links on a page where the request names no limit.", ge=1, le=1_000)] = 50
    max_page_size: Annotated[int, restart("Largest limit that a request may name.", ge=1, le=1_000)] = 200
    max_batch: Annotated[int, restart("Most links in one batch.", ge=1, le=10_000)] = 1_000
    idempotency_ttl: Annotated[
        Duration, hot("How long the answer to an Idempotency-Key is kept.", ge=60, le=30 * 86_400)
    ] = 86_400.0
    record_interval: Annotated[
        Duration,
        restart(
            "How often starts, expiries and used-up limits are looked for, to be recorded; no redirect waits for it.",
            ge=0.01,
            le=3_600,
        ),
    ] = 1.0

    def check(self, environment: str) -> Iterable[Problem]:
        """Short URLs must be stable in production, hosts bare, and the page size within its limit."""
        if self.page_size > self.max_page_size:
            text = "must not be above links.max_page_size; lower it, or raise that one"
            yield Problem(key="page_size", text=text, others=("max_page_size",))
        if self.base_url is None and environment == "production":
            yield Problem(key="base_url", text="production needs it; set ASTRA_LINKS__BASE_URL=https://your.domain")
        elif self.base_url is not None and (fault := _base_url_problem(self.base_url)):
            yield Problem(key="base_url", text=fault)
        if any(_HOST.fullmatch(host) is None for host in self.allowed_hosts):
            text = "each must be a bare host without scheme, port or path: `exa.mp`, `127.0.0.1` or `[::1]`"
            yield Problem(key="allowed_hosts", text=text)


class Codes(Section, frozen=True, kw_only=True):
    """How short codes are made. None of these may change once codes were given out."""

    key: Annotated[
        Secret | None,
        restart("Key of the permutation that hides the order of codes, 64 hex digits; null makes one, once."),
    ] = None
    region: Annotated[int, restart("Number of this region; no two regions may share one.", ge=0, le=63)] = 0
    block: Annotated[
        int,
        restart(
            "Numbers that a worker takes from the counter at a time; a crash wastes the rest.", ge=1, le=10_000_000
        ),
    ] = 10_000

    def check(self, environment: str) -> Iterable[Problem]:
        """The key is 256 bits."""
        if self.key is not None and re.fullmatch(r"[0-9a-fA-F]{64}", self.key.reveal()) is None:
            yield Problem(key="key", text="must be 64 hex digits; make one with `openssl rand -hex 32`")


class Cache(Section, frozen=True, kw_only=True):
    """The links that each worker holds in memory."""

    entries: Annotated[
        int,
        hot(
            "Most links held, half a kilobyte each; from a million on the table grows in pauses of 0.15 s and more.",
            ge=0,
            le=100_000_000,
        ),
    ] = 100_000
    negative_entries: Annotated[int, hot("Most unknown codes remembered as unknown.", ge=0, le=100_000_000)] = 50_000
    ttl: Annotated[
        Duration,
        hot("Age at which an entry is read again, should news of a change not come through.", ge=0.1, le=3_600),
    ] = 5.0
    poll_interval: Annotated[Duration, hot("How often a worker looks for changes made by others.", ge=0.005, le=1)] = (
        0.05
    )
    max_age: Annotated[
        Duration,
        hot(
            "`max-age` of a redirect, never past the link's end; 0s sends `private, no-store`, so every click counts.",
            le=86_400,
        ),
    ] = 0.0


class Clicks(Section, frozen=True, kw_only=True):
    """The journal in which each click is stored before its redirect is sent."""

    journal: Annotated[
        str,
        restart(
            "Folder of the journal, relative to the working directory or absolute; shared by the workers. "
            "Services may share it too: each store has a folder in it.",
            min_length=1,
        ),
    ] = "./data/journal"
    segment_size: Annotated[Size, restart("Size of one segment file.", ge=64 * 1024, le=2**30)] = 4 * 1024**2
    quota: Annotated[
        Size,
        hot(
            "Most space for a store's clicks; beyond it a worker drops its oldest, and counts them.",
            ge=128 * 1024,
        ),
    ] = 256 * 1024**2
    sync_interval: Annotated[
        Duration, hot("How often the journal is synced to disk: what a power cut can lose.", ge=0.01, le=60)
    ] = 1.0
    apply_interval: Annotated[Duration, hot("How often clicks are added to the counts.", ge=0.01, le=60)] = 0.25
    adopt_interval: Annotated[
        Duration, hot("How often a worker looks for segments that a dead one left.", ge=0.1, le=600)
    ] = 2.0

    def check(self, environment: str) -> Iterable[Problem]:
        """One segment is written while another is applied."""
        if self.quota < 2 * self.segment_size:
            text = "must be at least twice clicks.segment_size; raise it, or lower that one"
            yield Problem(key="quota", text=text, others=("segment_size",))


class Settings(Section, frozen=True, kw_only=True):
    """All settings of the shortener."""

    server: Server = msgspec.field(default_factory=Server)
    store: Store = msgspec.field(default_factory=Store)
    coordination: Coordination = msgspec.field(default_factory=Coordination)
    messaging: Messaging = msgspec.field(default_factory=Messaging)
    links: Links = msgspec.field(default_factory=Links)
    codes: Codes = msgspec.field(default_factory=Codes)
    cache: Cache = msgspec.field(default_factory=Cache)
    clicks: Clicks = msgspec.field(default_factory=Clicks)
    imports: Imports = msgspec.field(default_factory=Imports)
    log: Log = msgspec.field(default_factory=Log)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    tracing: Tracing = msgspec.field(default_factory=Tracing)
    http: Protection = msgspec.field(default_factory=Protection)
    reload: Reload = msgspec.field(default_factory=Reload)

    def check(self, environment: str) -> Iterable[Problem]:
        """Memory belongs to one process, and what stands inside ends before what stands round it."""
        for inner, outer in _NESTED:
            seconds = self._seconds(inner)
            if seconds is not None and seconds >= (self._seconds(outer) or 0.0):
                yield Problem(key=inner, text=f"must be below {outer}; lower it, or raise that one", others=(outer,))
        for key in ("store.url", "coordination.url", "messaging.url"):
            url = attrgetter(key)(self)
            if url == "memory:" and self.server.workers > 1:
                text = "memory: is not shared between processes; use sqlite:PATH, or set server.workers to 1"
                yield Problem(key=key, text=text, others=("server.workers",))
            if key != "store.url" and url == self.store.url != "memory:":
                yield Problem(key=key, text="must be a file of its own, not the store's", others=("store.url",))

    def _seconds(self, key: str) -> float | None:
        seconds: float | None = attrgetter(key)(self)
        return seconds


_NESTED: Final = (
    ("http.deadline", "server.drain_timeout"),
    ("server.body_timeout", "http.deadline"),
    ("store.read_deadline", "http.deadline"),
    ("store.write_deadline", "http.deadline"),
    ("store.reads.retry.try_timeout", "store.read_deadline"),
    ("store.writes.retry.try_timeout", "store.write_deadline"),
    ("coordination.calls.retry.try_timeout", "coordination.deadline"),
    ("messaging.calls.retry.try_timeout", "messaging.deadline"),
    ("http.retry.try_timeout", "http.deadline"),
)
"""Pairs of times: the first one, where it is set, ends within the second."""


def load_settings(
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    environment: str | None = None,
    ignore: Iterable[str] = (),
    checks: bool = True,
) -> Loaded[Settings]:
    """Load the shortener's settings as `astra_core.config.load` does; ConfigError names every problem at once.

    `ASTRA_TEST_*` tells the test suite where its engines are, and is no setting.
    """
    return load(
        Settings,
        environ=environ,
        folder=folder,
        environment=environment,
        environments=ENVIRONMENTS,
        others=("hypercorn.toml",),
        checks=checks,
        ignore={*ignore, *(name for name in environ if name.startswith("ASTRA_TEST_"))},
    )


_HOST: Final = re.compile(r"[0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+\]")


def _store_problem(url: str) -> str:
    if url.partition(":")[0] in ("mongodb", "mongodb+srv"):
        return "a MongoDB store is not built yet; use sqlite:PATH"
    return engine_problem(url, "astra.db")


def _base_url_problem(url: str) -> str:
    """Return what is wrong with a base URL, without the URL in it: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL; write it like https://exa.mp"
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        return "must be an http or https URL in ASCII, such as https://exa.mp (an international host in punycode)"
    if "?" in url or "#" in url or parts.username is not None:
        return "must have no query, fragment or credentials; write only scheme, host, port and path"
    return ""
