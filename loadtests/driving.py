"""Drives an ASGI application in this process: as fast as it goes, or one request with its answer."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from loadtests.browsers import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.asgi import ASGIApp, Header, Message, Scope

__all__ = ["Answer", "Stopwatch", "call", "drive", "scope_of"]


class Stopwatch:
    """Times one block: `cpu` seconds of this process, which other processes hardly lengthen, and `wall` seconds.

    `thread` are the seconds of processor time of this thread alone.
    """

    __slots__ = ("cpu", "thread", "wall")

    def __init__(self) -> None:
        self.wall = -time.perf_counter()
        self.thread = -time.thread_time()
        self.cpu = -time.process_time()

    def stop(self) -> Self:
        """Stop, once."""
        self.cpu += time.process_time()
        self.thread += time.thread_time()
        self.wall += time.perf_counter()
        return self


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


async def call(app: ASGIApp, method: str, path: str, payload: object = None) -> Answer:
    """Send one request, with a JSON body when there is a `payload`, and return the answer."""
    body = b"" if payload is None else json.dumps(payload).encode()
    headers: list[Header] = [(b"host", HOST), (b"accept", b"*/*"), (b"content-length", str(len(body)).encode())]
    if payload is not None:
        headers.append((b"content-type", b"application/json"))
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(dict(message))

    await app(scope_of(path.encode("ascii"), headers, method=method.encode("ascii")), receive, send)
    start = messages[0]
    answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], answered, b"".join(part.get("body", b"") for part in messages[1:]))


def scope_of(raw_path: bytes, headers: Sequence[Header], *, method: bytes = b"GET") -> Scope:
    """Return a scope as uvicorn's httptools protocol builds it: fresh dicts and list, path and method just decoded."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "root_path": "",
        "headers": list(headers),
        "state": {},
        "method": method.decode("ascii"),
        "path": raw_path.decode("ascii"),
        "raw_path": raw_path,
        "query_string": b"",
    }


async def drive(app: ASGIApp, path: str, headers: tuple[Header, ...], *, requests: int) -> Stopwatch:
    """Send `requests` GETs one after the other, and return the time they took.

    Nothing is read of what is sent back; the loop gets no turn unless the application waits.
    """
    raw_path = path.encode("ascii")
    watch = Stopwatch()
    for _ in range(requests):
        await app(scope_of(raw_path, headers), _receive, _send)
    return watch.stop()


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass
