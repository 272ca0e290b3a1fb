"""A small store behind a real socket: what a database server and its adapter are to Astra, for tests of faults."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from astra_core.errors import AstraError, CommitInDoubt, StoreUnavailable
from tests.integration.faults.remote_wire import answer_of, call_of, pack_answer, pack_call, pack_error, read_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from astra_core.storage import Changes, Event, Message, Page, Query, Record, Store, Write

__all__ = ["RemoteStore", "StoreServer"]


class StoreServer:
    """Serves a store on a port of its own. `calls` counts what arrived."""

    def __init__(self, store: Store) -> None:
        self.calls = 0
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                writer.write(await self._answer(await read_frame(reader)))
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client left, or the server ends
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, frame: bytes) -> bytes:
        self.calls += 1
        method, args, options = call_of(frame)
        try:
            return pack_answer(await getattr(self._store, method)(*args, **options))
        except (AstraError, ValueError) as error:
            return pack_error(error)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.transport.is_closing()

    async def ask(self, frame: bytes) -> bytes:
        self._writer.write(frame)
        await self._writer.drain()
        return await read_frame(self._reader)

    def drop(self) -> None:
        self._writer.transport.abort()


class RemoteStore:
    """All ports of a store, over a few connections that are made when needed and dropped when anything goes wrong.

    Every call ends within `deadline` seconds. One that got no answer raises `StoreUnavailable`, a commit that had been
    sent `CommitInDoubt`.
    """

    def __init__(self, host: str, port: int, *, deadline: float = 1.0, connections: int = 16) -> None:
        self._place = host, port
        self._deadline = deadline
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._commits: set[asyncio.Task[tuple[int, ...]]] = set()
        self._open = True

    def __repr__(self) -> str:
        return f"RemoteStore({self._place[0]}:{self._place[1]}, idle={len(self._idle)})"

    async def open(self) -> None:
        """Be ready; the first call connects."""
        self._open = True

    async def close(self) -> None:
        """Let commits end, drop the connections and refuse further calls."""
        self._open = False
        if self._commits:
            await asyncio.wait(self._commits)
        while self._idle:
            self._idle.pop().drop()
        await asyncio.sleep(0)  # a dropped connection is closed in the loop's next turn

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """See `Store.commit`: a task of its own, which its caller cannot cancel."""
        commit: asyncio.Task[tuple[int, ...]] = asyncio.ensure_future(self._call("commit", writes))
        self._commits.add(commit)
        commit.add_done_callback(self._forget)
        return await asyncio.shield(commit)

    async def get(self, collection: str, key: str) -> Record | None:
        """See `Store.get`."""
        record: Record | None = await self._call("get", collection, key)
        return record

    async def find(self, query: Query) -> Page:
        """See `Store.find`."""
        page: Page = await self._call("find", query)
        return page

    async def counts(self, counters: str, keys: Sequence[str]) -> Mapping[str, int]:
        """See `Store.counts`."""
        counts: Mapping[str, int] = await self._call("counts", counters, list(keys))
        return counts

    async def positions(self) -> Mapping[str, int]:
        """See `Store.positions`."""
        positions: Mapping[str, int] = await self._call("positions")
        return positions

    async def tip(self, feed: str) -> int:
        """See `ChangesFeed.tip`."""
        tip: int = await self._call("tip", feed)
        return tip

    async def changes(self, feed: str, *, after: int, limit: int = 1000) -> Changes:
        """See `ChangesFeed.changes`."""
        changes: Changes = await self._call("changes", feed, after=after, limit=limit)
        return changes

    async def moved(self) -> int:
        """See `ChangesFeed.moved`."""
        moved: int = await self._call("moved")
        return moved

    async def trim(self, feed: str, *, keep: int) -> int:
        """See `ChangesFeed.trim`."""
        trimmed: int = await self._call("trim", feed, keep=keep)
        return trimmed

    async def events(self, stream: str, key: str, *, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """See `History.events`."""
        events: tuple[Event, ...] = await self._call("events", stream, key, after=after, limit=limit)
        return events

    async def messages(self, *, after: int = 0, limit: int = 1000) -> tuple[Message, ...]:
        """See `History.messages`."""
        messages: tuple[Message, ...] = await self._call("messages", after=after, limit=limit)
        return messages

    async def waiting(self) -> int:
        """See `History.waiting`."""
        waiting: int = await self._call("waiting")
        return waiting

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        """Ask the server: the one place where what happens to sockets becomes the port's error."""
        frame = pack_call(method, args, options)
        if not self._open:
            raise StoreUnavailable(f"{self!r}: the store is closed")
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                connection = await self._connect()
                answer = await connection.ask(frame)
        except BaseException as error:
            if connection is not None:
                connection.drop()
            if not isinstance(error, (OSError, EOFError)):
                raise
            in_doubt = method == "commit" and connection is not None
            kind = CommitInDoubt if in_doubt else StoreUnavailable
            raise kind(f"{self!r}: {error or type(error).__name__}") from error
        self._idle.append(connection)
        return answer_of(method, answer)

    def _forget(self, commit: asyncio.Task[tuple[int, ...]]) -> None:
        self._commits.discard(commit)
        if not commit.cancelled():
            commit.exception()  # retrieved: its caller may have left

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.drop()
        return _Connection(*await asyncio.open_connection(*self._place))
