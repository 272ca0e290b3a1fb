"""Imports from outside: to begin one, to look at it, to pause, resume and cancel it."""

from __future__ import annotations

import contextlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app.imports import (
    FINAL,
    LIFE,
    OPEN,
    PROGRESS,
    REPORTS,
    Import,
    ImportState,
    Progress,
    UnknownImport,
    begun,
    forgotten,
    newest,
    progress_in,
    slices,
)
from app.service.errors import InvalidCursor, NotAllowed
from astra_core.errors import CommitConflict, StorageError
from astra_core.storage.records import Query
from astra_core.storage.writes import Delete
from astra_core.workflow import Runner, UnknownInstance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from app.imports import Format, ImportEvent, Spool
    from astra_core.clock import Clock
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Scalar
    from astra_core.workflow import Instance
    from astra_core.workflow.runner import StoreWithHistory

__all__ = ["ImportManager", "ImportPage", "ImportSnapshot", "Upload"]

_KEY = re.compile("[0-9a-f]{23}")
_LATEST = 2**63
_PURGE = 20
"""Slices of a report forgotten in one go, and imports looked at."""
_ORPHAN_AGE = 3_600.0
"""Seconds after which a file that no import needs was left by a process killed before it said whose it is."""
_PAGE = 8
"""Slices of a report that are in memory at once: about half a megabyte."""


class Upload(Struct, frozen=True, kw_only=True):
    """What is told of a file before it comes. `base` and `via`: see `Import`."""

    name: str
    kind: Format
    report: Format
    base: str
    via: str = ""
    declared: int | None = None


class ImportSnapshot(Struct, frozen=True):
    """An import, how far it has come, and the versions of both records."""

    key: str
    version: int
    state: ImportState
    about: Import
    progress: Progress
    progress_version: int


class ImportPage(Struct, frozen=True):
    """Imports, newest first, and the cursor of the next page."""

    items: list[ImportSnapshot]
    next_cursor: str | None


class ImportManager:
    """Keeps the imports of a store and their files, for `keep` seconds once they are over.

    Counts for metrics: imports that came to each state through here, `moved`.
    """

    def __init__(
        self, store: StoreWithHistory, spool: Spool, *, keep: float, clock: Clock, entropy: Callable[[int], bytes]
    ) -> None:
        self.moved: Counter[ImportState] = Counter()
        self.keep = keep
        self.spool = spool
        self._store: Store = store
        self._runner = Runner(LIFE, store, clock=clock)
        self._clock = clock
        self._entropy = entropy

    async def begin(self, upload: Upload, read: Callable[[], Awaitable[bytes | None]]) -> ImportSnapshot:
        """Receive a file and make an import of it. Raises what `Spool.receive` raises, and `StoreUnavailable`."""
        key = self._key()
        size = await self.spool.receive(key, read, kind=upload.kind, declared=upload.declared)
        return await self._begin(key, upload, size)

    async def adopt(self, upload: Upload, file: Path) -> ImportSnapshot:
        """Make an import of a copy of a file of this machine."""
        key = self._key()
        return await self._begin(key, upload, await self.spool.adopt(key, file, kind=upload.kind))

    async def get(self, key: str) -> ImportSnapshot:
        """Return an import. Raises `UnknownImport`."""
        _check_key(key)
        instance = await self._runner.get(key)
        if instance is None:
            raise UnknownImport(key)
        return await self._snapshot(instance)

    async def change(self, key: str, event: ImportEvent) -> ImportSnapshot:
        """Let `event` happen, as `send` does, for somebody who only wants to know of it.

        It is answered with the progress of before when that of now cannot be read: it did happen.
        """
        before = await self.get(key)
        instance = await self._happened(key, event, by="", at=None)
        try:
            return await self._snapshot(instance)
        except StorageError:
            return _together(instance, before.progress, before.progress_version)

    async def send(self, key: str, event: ImportEvent, *, by: str = "", at: int | None = None) -> ImportSnapshot:
        """Let `event` happen. Raises `UnknownImport`, `NotAllowed`, with `at` `CommitConflict` at another version."""
        return await self._snapshot(await self._happened(key, event, by=by, at=at))

    async def _happened(
        self, key: str, event: ImportEvent, *, by: str, at: int | None
    ) -> Instance[ImportState, Import]:
        _check_key(key)
        try:
            result = await self._runner.send(key, event, by=by, at=at)
        except UnknownInstance:
            raise UnknownImport(key) from None
        decision, instance = result.decision, result.instance
        if decision is None or not decision.accepted:
            reason = f"import is {instance.state}: it cannot {type(event).__name__.lower()}"
            raise NotAllowed(key, state=instance.state, reason=reason)
        if decision.target is not decision.source:
            self.moved[decision.target] += 1
        return instance

    async def interruption(self, key: str, *, since: int) -> str:
        """Return in words what took an import from the worker that had it, which stood at version `since` then."""
        for entry in await self._runner.history(key, after=since):
            match entry.event:
                case "Pause":
                    return "was paused"
                case "Cancel":
                    return "was cancelled"
                case "Take":
                    return f"was taken over by {entry.by or 'another worker'}"
        return "is not what it was"

    async def next_open(self) -> str | None:
        """Return the oldest import that a worker has something to do for; those under way come first."""
        for state in reversed(OPEN):
            query = Query(collection=LIFE.name, index="state", prefix=(state.value,), limit=1)
            if records := (await self._store.find(query)).records:
                return records[0].key
        return None

    async def version(self, key: str) -> int:
        """Return at which version an import stands, 0 when it is gone."""
        record = await self._store.get(LIFE.name, key)
        return 0 if record is None else record.version

    async def page(self, *, cursor: str | None, limit: int) -> ImportPage:
        """Return one page. Raises `InvalidCursor`."""
        after = None if cursor is None else _position(cursor)
        page = await self._store.find(newest(after=after, limit=limit))
        items = []
        for record in page.records:
            instance = await self._runner.get(record.key)
            if instance is not None:  # it was forgotten just now
                items.append(_together(instance, progress_in(record), record.version))
        return ImportPage(items, None if page.next is None else _cursor(page.next))

    async def tidy(self) -> None:
        """Forget what has been over for long enough, and remove files that no import needs.

        Any process may, at any time. Raises `StoreUnavailable`, and `OSError` when the folder cannot be used.
        """
        now = self._clock.time()
        await self.spool.sweep(now)
        for key in await self.spool.kept(before=now - _ORPHAN_AGE):
            instance = await self._runner.get(key)
            if instance is None or instance.state in FINAL:
                await self.spool.drop(key)
        await self.purge()

    async def purge(self) -> int:
        """Forget the imports that have been over for long enough, with their reports; returns how many."""
        until = round((self._clock.time() - self.keep) * 1e6)
        gone = 0
        for state in FINAL:
            async for instance in self._in_state(state):
                if instance.data.created_at > until:
                    break
                if (instance.data.finished_at or 0) <= until:
                    with contextlib.suppress(CommitConflict):  # another process is at it
                        await self._forget(instance)
                        gone += 1
        return gone

    async def _in_state(self, state: ImportState) -> AsyncIterator[Instance[ImportState, Import]]:
        """Yield the imports that stand in `state`, the oldest first."""
        after: tuple[Scalar, ...] | None = None
        while True:
            query = Query(collection=LIFE.name, index="state", prefix=(state.value,), after=after, limit=_PURGE)
            page = await self._store.find(query)
            for record in page.records:
                instance = await self._runner.get(record.key)
                if instance is not None and instance.state is state:
                    yield instance
            if page.next is None:
                return
            after = page.next

    async def report(self, snapshot: ImportSnapshot) -> AsyncGenerator[bytes, None]:
        """Yield the report of an import, slice by slice, as far as it had come when `snapshot` was taken."""
        after: tuple[Scalar, ...] | None = None
        left = snapshot.progress.report
        while left > 0:
            page = await self._store.find(slices(snapshot.key, after=after, limit=_PAGE))
            for record in page.records:
                if left > 0:
                    left -= len(record.value)
                    yield record.value
            if page.next is None:
                return
            after = page.next

    async def _begin(self, key: str, upload: Upload, size: int) -> ImportSnapshot:
        now = round(self._clock.time() * 1e6)
        data = Import(
            name=upload.name,
            kind=upload.kind,
            report=upload.report,
            size=size,
            base=upload.base,
            via=upload.via,
            created_at=now,
        )
        progress = Progress(created_at=now)
        try:
            instance = await self._runner.begin(key, data, also=[begun(key, progress)])
        except BaseException:
            # Should the commit have happened all the same, its import fails for want of a file, and says so.
            await self.spool.drop(key)
            raise
        self.moved[instance.state] += 1
        return ImportSnapshot(key, instance.version, instance.state, instance.data, progress, 1)

    async def _forget(self, instance: Instance[ImportState, Import]) -> None:
        while True:
            page = await self._store.find(slices(instance.key, after=None, limit=_PURGE))
            if not page.records:
                break
            await self._store.commit([Delete(collection=REPORTS.name, key=record.key) for record in page.records])
        await self._store.commit(forgotten(instance.key, version=instance.version))
        await self.spool.drop(instance.key)

    async def _snapshot(self, instance: Instance[ImportState, Import]) -> ImportSnapshot:
        record = await self._store.get(PROGRESS.name, instance.key)
        if record is None:
            raise UnknownImport(instance.key)
        return _together(instance, progress_in(record), record.version)

    def _key(self) -> str:
        """Return a key that sorts by time, and that nobody else has."""
        return f"{round(self._clock.time() * 1e6):013x}{self._entropy(5).hex()}"


def _check_key(key: str) -> None:
    """Raise `UnknownImport`; a path may hold anything, NUL included, which no store takes as a key."""
    if _KEY.fullmatch(key) is None:
        raise UnknownImport(key)


def _together(instance: Instance[ImportState, Import], progress: Progress, version: int) -> ImportSnapshot:
    return ImportSnapshot(instance.key, instance.version, instance.state, instance.data, progress, version)


def _cursor(position: Sequence[str | int]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def _position(cursor: str) -> tuple[int, str]:
    try:
        created_at, key = msgspec.json.decode(urlsafe_b64decode(cursor.encode("ascii") + b"=="), type=tuple[int, str])
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidCursor("it is not a cursor of this listing") from error
    if not 0 <= created_at < _LATEST or _KEY.fullmatch(key) is None:
        raise InvalidCursor("it is not a cursor of this listing")
    return created_at, key
