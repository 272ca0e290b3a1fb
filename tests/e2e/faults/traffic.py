"""Mixed traffic that keeps a ledger: what was asked, what was answered, and what must therefore be true afterwards."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.e2e.faults.client import Connection

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from tests.e2e.faults.client import Answer

__all__ = ["Keyed", "Ledger", "Made", "Traffic", "each"]

MOVING = {"state", "visits", "short_url", "version", "updated_at", "title"}
"""Members of a link that change without anybody losing anything, or that are looked at one by one."""


@dataclass(slots=True)
class Made:
    """An acknowledged link. `sent` and `answered` count its redirects."""

    view: dict[str, Any]
    titles: list[str | None]
    """What its title may be: the last one acknowledged, and those asked for since."""
    version: int
    sent: int = 0
    answered: int = 0
    editing: bool = False

    @property
    def code(self) -> str:
        """Its code."""
        return str(self.view["code"])

    @property
    def quiet(self) -> bool:
        """Whether no redirect of it was in flight when its connection broke."""
        return self.sent == self.answered

    def faults(self, view: dict[str, Any]) -> list[str]:
        """Return how `view` differs from what was acknowledged."""
        wrong = [
            f"{name}: {view[name]!r}" for name in self.view if name not in MOVING and view[name] != self.view[name]
        ]
        if view["title"] not in self.titles:
            wrong.append(f"title: {view['title']!r}, not one of {self.titles}")
        if view["version"] != self.version and not (self.editing and view["version"] == self.version + 1):
            wrong.append(f"version: {view['version']}, not {self.version}")
        return wrong


@dataclass(slots=True)
class Keyed:
    """A creation under an Idempotency-Key; `code` is None while it is not acknowledged."""

    key: str
    payload: dict[str, Any]
    code: str | None = None


@dataclass(slots=True)
class Ledger:
    """All rounds together."""

    links: dict[str, Made] = field(default_factory=dict)
    limited: list[Made] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """Every URL that a creation was ever sent for."""
    wrong: list[str] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, view: dict[str, Any]) -> Made:
        """Note an acknowledged link."""
        made = Made(view, [view["title"]], view["version"])
        if view["code"] in self.links:
            self.wrong.append(f"the code {view['code']} was given out twice")
        self.links[view["code"]] = made
        if view["max_visits"] is not None:
            self.limited.append(made)
        return made


class Traffic:
    """One round of it over `connections` connections, until they break or `stop` is called."""

    def __init__(self, ledger: Ledger, port: int, *, chance: random.Random, connections: int = 24) -> None:
        self._ledger = ledger
        self._port = port
        self._chance = chance
        self._connections = connections
        self._ended = False

    async def run(self) -> None:
        """Send until the server is gone."""
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    def stop(self) -> None:
        """Let each connection end with the answer it waits for."""
        self._ended = True

    async def _client(self) -> None:
        try:
            async with Connection(self._port) as connection:
                while not self._ended:
                    await self._step(connection)
        except (OSError, EOFError):
            return

    async def _step(self, connection: Connection) -> None:
        die = self._chance.random()
        if die < 0.08 or not self._ledger.links:
            await self._create(connection)
        elif die < 0.12:
            await self._create(connection, max_visits=self._chance.randint(1, 40))
        elif die < 0.18:
            await self._create_keyed(connection)
        elif die < 0.20:
            await self._create_batch(connection)
        elif die < 0.26:
            await self._edit(connection)
        else:
            await self._follow(connection)

    def _payload(self, **more: Any) -> dict[str, Any]:
        url = f"https://example.com/{next(self._ledger.numbers)}?q=a%20b#c"
        self._ledger.asked.add(url)
        return {"url": url, "tags": ["t"], **more}

    async def _create(self, connection: Connection, **more: Any) -> None:
        payload = self._payload(**more)
        self._made(payload, await connection.post("/v1/links", payload))

    async def _create_keyed(self, connection: Connection) -> None:
        payload = self._payload()
        keyed = Keyed(f"key-{len(self._ledger.keyed)}", payload)
        self._ledger.keyed.append(keyed)
        answer = await connection.post("/v1/links", payload, idempotency_key=keyed.key)
        if self._made(payload, answer):
            keyed.code = answer.json()["code"]

    async def _create_batch(self, connection: Connection) -> None:
        payloads = [self._payload() for _ in range(8)]
        answer = await connection.post("/v1/links/batch", {"links": payloads})
        if self._expect("batch", answer, 200):
            for payload, result in zip(payloads, answer.json()["results"], strict=True):
                if result["status"] == 201 and result["link"]["url"] == payload["url"]:
                    self._ledger.add(result["link"])
                else:
                    self._ledger.wrong.append(f"batch: {result}")

    def _made(self, payload: dict[str, Any], answer: Answer) -> bool:
        if not self._expect("create", answer, 201):
            return False
        view = answer.json()
        if view["url"] != payload["url"] or view["max_visits"] != payload.get("max_visits"):
            self._ledger.wrong.append(f"create: {payload} became {view}")
        self._ledger.add(view)
        return True

    async def _edit(self, connection: Connection) -> None:
        made = self._pick()
        if made.editing:
            return
        made.editing = True
        title = f"title {next(self._ledger.numbers)}"
        made.titles.append(title)
        answer = await connection.request("PATCH", f"/v1/links/{made.code}", {"title": title})
        if self._expect("edit", answer, 200):
            view = answer.json()
            made.titles, made.version, made.editing = [title], view["version"], False

    async def _follow(self, connection: Connection) -> None:
        limited = self._ledger.limited
        made = self._chance.choice(limited[-6:]) if limited and self._chance.random() < 0.25 else self._pick()
        made.sent += 1
        answer = await connection.get(f"/{made.code}")
        if answer.status == 302 and answer.headers.get("location") == made.view["url"]:
            made.answered += 1
        else:
            made.sent -= 1  # answered, and not with a redirect: it must not be counted
            if answer.status != 410 or made.view["max_visits"] is None:
                self._ledger.wrong.append(f"redirect of {made.code}: {answer}")

    def _pick(self) -> Made:
        """Return mostly one of a few recent links, so that some have many visits, and now and then any."""
        links = list(itertools.islice(reversed(self._ledger.links.values()), 30))
        return self._chance.choice(links)

    def _expect(self, what: str, answer: Answer, status: int) -> bool:
        if answer.status != status:
            self._ledger.wrong.append(f"{what}: {answer.status} {answer.body[:300]!r}")
        return answer.status == status


async def each(port: int, items: Sequence[Any], work: Callable[[Connection, Any], Awaitable[None]]) -> None:
    """Do `work` for each of `items`, over 16 connections."""
    left = iter(items)

    async def client() -> None:
        async with Connection(port) as connection:
            for item in left:
                await work(connection, item)

    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(client())
