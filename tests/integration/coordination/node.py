"""A process that owns slots, and handles events of keys as others send them.

python node.py FOLDER NAME TTL

It listens on the socket FOLDER/NAME.sock. A request is a line of JSON, `[id, key, producer, number]`, an answer a line
`[id, "done"]`, `[id, "again"]` (it was handled before), `[id, "moved", owner]` or `[id, "failed"]`. SIGTERM ends it in
good order: it hands its slots over, and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:] = [str(ROOT), *sys.path[1:]]

from astra_core.errors import CommitConflict, Overloaded, SlotMoved, StoreUnavailable  # noqa: E402
from astra_core.keyed import KeyedExecutor  # noqa: E402
from astra_core.storage import Append, Insert  # noqa: E402
from astra_core.workflow.slots import SlotOwner  # noqa: E402
from tests.integration.coordination.opened import opened  # noqa: E402

if TYPE_CHECKING:
    from astra_core.storage import Store
    from astra_core.workflow import Fence


class Node:
    """Handles events of the keys whose slots are its own, those of a key one at a time."""

    def __init__(self, owner: SlotOwner, store: Store) -> None:
        self.owner = owner
        self.store = store
        self.executor = KeyedExecutor(
            "events", mailbox=256, retry_on=lambda error: not isinstance(error, (CommitConflict, StoreUnavailable))
        )
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, many at a time."""
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                task = asyncio.create_task(self.answer(json.loads(line), writer))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        writer.close()

    async def answer(self, request: list[Any], writer: asyncio.StreamWriter) -> None:
        """Handle one event, and say what became of it."""
        request_id, key, producer, number = request
        try:
            with self.owner.slot(key) as fence:
                said = [await self.executor.submit(key, self.handle, fence, key, producer, number)]
        except SlotMoved as moved:
            said = ["moved", moved.owner or ""]
        except (StoreUnavailable, Overloaded):
            said = ["failed"]
        if not writer.is_closing():
            writer.write(json.dumps([request_id, *said]).encode() + b"\n")

    async def handle(self, fence: Fence, key: str, producer: int, number: int) -> str:
        """Note the event in the history of its key, once, unless somebody else owns the key's slot by now."""
        seen = Insert(collection="seen", key=f"{key}/{producer}/{number}", value=b"")
        noted = Append(stream="handled", key=key, data=json.dumps([producer, number, fence.epoch]).encode())
        try:
            await self.store.commit([fence.require, seen, noted])
        except CommitConflict as conflict:
            if fence.refused(conflict):
                raise
            return "again"
        return "done"


async def main(folder: str, name: str, ttl: str) -> None:
    """Own slots until SIGTERM."""
    async with opened(Path(folder)) as (store, coordination):
        path = f"{folder}/{name}.sock"
        owner = SlotOwner(name, members=coordination, store=store, ttl=float(ttl), drain=2.0, data=path)
        node = Node(owner, store)
        server = await asyncio.start_unix_server(node.serve, path)
        running = asyncio.create_task(owner.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.wait((running,))
        server.close()
        await node.executor.close(timeout=5.0)
        await asyncio.sleep(0.1)  # the last answers


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
