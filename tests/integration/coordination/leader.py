"""A process that competes for a lease, and writes with it all the time, also when it has lost it.

python leader.py FOLDER NAME TTL fenced|unfenced

Prints `taken EPOCH` for each time that it got the lease, and `refused EPOCH` for each write that the store refused.
Until then it goes on writing with what it once had: the holder that does not listen.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[3]
sys.path[:] = [str(ROOT), *sys.path[1:]]

from astra_core.coordination import Leadership  # noqa: E402
from astra_core.errors import CommitConflict, StoreUnavailable  # noqa: E402
from astra_core.storage import Append  # noqa: E402
from astra_core.workflow import take_fence  # noqa: E402
from tests.integration.coordination.opened import opened  # noqa: E402

if TYPE_CHECKING:
    from astra_core.coordination import Tenure
    from astra_core.storage import Write

WRITERS = 4
STUBBORN = 25
"""How often each writer tries again after it was refused; unfenced, how often it writes after it lost the lease."""


async def main(folder: str, name: str, ttl: str, how: str) -> None:
    """Compete until killed."""
    deaf: set[asyncio.Task[None]] = set()
    async with opened(Path(folder)) as (store, coordination):
        leadership = Leadership(coordination, "writer", ttl=float(ttl), holder=name)

        async def work(tenure: Tenure) -> None:
            fence = await take_fence(store, "writer", tenure)
            print("taken", fence.epoch, flush=True)
            data = json.dumps({"node": name, "epoch": fence.epoch}).encode()
            writes: list[Write] = [Append(stream="log", key="all", data=data)]
            if how == "fenced":
                writes.insert(0, fence.require)
            for _ in range(WRITERS):
                task = asyncio.create_task(write(tenure, writes, fence.epoch))
                deaf.add(task)
                task.add_done_callback(deaf.discard)
            await asyncio.Event().wait()

        async def write(tenure: Tenure, writes: list[Write], epoch: int) -> None:
            refused = lost = 0
            while refused < STUBBORN and lost < STUBBORN:
                try:
                    await store.commit(writes)
                except CommitConflict:
                    refused += 1
                    print("refused", epoch, flush=True)
                except StoreUnavailable:
                    await asyncio.sleep(0.01)
                lost += how == "unfenced" and not tenure.held
                await asyncio.sleep(0.005)

        await leadership.run(work)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
