"""An application that only watches its process: what the servers do with `app.main.process`, without the shortener.

`/pid` answers the worker's process id, `/addresses` what the server says of both ends, `/sleep/S` after S seconds (503
if the drain cut it short). `PROBE_REFUSES=1` refuses start-up; `PROBE_BLOCKS=1` never ends its lifespan;
`PROBE_TOLD=1` is told to stop while it starts.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

from app.main.process import ProcessWatch, announce_ready, refuse_start

DRAIN = 1.0


class Probe:
    """One worker."""

    def __init__(self) -> None:
        self.requests: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one scope; a cut request still gets its 503."""
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        self.requests.add(task)
        try:
            status, body = 200, await self.answer(scope)
        except asyncio.CancelledError:
            status, body = 503, b"cancelled"
        finally:
            self.requests.discard(task)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, scope: Any) -> bytes:
        """The body for a path."""
        if scope["path"].startswith("/sleep/"):
            await asyncio.sleep(float(scope["path"].removeprefix("/sleep/")))
        if scope["path"] == "/addresses":
            return json.dumps([scope["client"], scope["server"]]).encode()
        return str(os.getpid()).encode()

    async def live(self, receive: Any, send: Any) -> None:
        """What a lifespan has to do for its process."""
        await receive()
        if os.environ.get("PROBE_REFUSES"):
            await refuse_start(send, "the probe\nrefuses")
            return
        if "PROBE_TOLD" in os.environ:  # the order to stop comes while the server starts, before anybody watches
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        watch = ProcessWatch(loop, drain_timeout=DRAIN)
        watch.start(lambda: loop.call_later(DRAIN, self.cut))
        announce_ready()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watch.begin()
        if os.environ.get("PROBE_BLOCKS"):
            await asyncio.sleep(3600)
        watch.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def cut(self) -> None:
        """End what outlasts the drain."""
        for task in self.requests:
            task.cancel()


asgi = Probe()
