"""Idempotency keys: the answer is committed together with what it answers, so no crash can part them.

"In progress" lives in this process's memory alone and cannot survive it. Between processes the insert of the answer
decides: the second one to commit finds the first one's answer and gives that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from app.service.errors import IdempotencyInProgress, IdempotencyMismatch
from astra_core.errors import CommitConflict
from astra_core.storage.records import Collection, Index, Query
from astra_core.storage.writes import Delete, Insert, Replace

if TYPE_CHECKING:
    from astra_core.clock import Clock
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Entries, Write

__all__ = ["IDEMPOTENCY", "Answer", "Found", "IdempotencyKeys", "Receipt"]

_EXPIRES = "expires"
IDEMPOTENCY = Collection(name="idempotency", indexes=(Index(name=_EXPIRES),))
_PURGE = 100
"""Expired answers removed a commit."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """An HTTP answer as it is kept: status, headers to repeat, body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    payload: bytes
    expires_at: float
    answer: Answer


@dataclass(frozen=True, slots=True)
class Found:
    """The answer kept for a key, if it is still living, and the version of its record (0: there is none)."""

    answer: Answer | None
    version: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """One use of a key: who uses which key (`name`), for which payload."""

    name: str
    payload: bytes

    @classmethod
    def of(cls, *, caller: str, key: str, payload: bytes) -> Receipt:
        """Name the key of this caller; `payload` is the SHA-256 of what was sent."""
        return cls(hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest(), payload)


class IdempotencyKeys:
    """Keeps answers for `ttl` seconds; `purge` removes expired ones in small batches."""

    def __init__(self, store: Store, *, ttl: float, clock: Clock) -> None:
        self._store = store
        self.ttl = ttl
        self._clock = clock
        self._under_way: set[str] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(_Kept)

    async def look_up(self, receipt: Receipt) -> Found:
        """Return what is kept for this key. Raises `IdempotencyMismatch` when it answered another payload."""
        record = await self._store.get(IDEMPOTENCY.name, receipt.name)
        if record is None:
            return Found(None, 0)
        kept = self._decoder.decode(record.value)
        if kept.expires_at <= self._clock.time():
            return Found(None, record.version)
        if kept.payload != receipt.payload:
            raise IdempotencyMismatch
        return Found(kept.answer, record.version)

    def is_under_way(self, receipt: Receipt) -> bool:
        """Whether a request of this process has the key."""
        return receipt.name in self._under_way

    def begin(self, receipt: Receipt) -> None:
        """Take the key for this request. Raises `IdempotencyInProgress` when another one of this process has it."""
        if receipt.name in self._under_way:
            raise IdempotencyInProgress
        self._under_way.add(receipt.name)

    def end(self, receipt: Receipt) -> None:
        """Give the key back, whatever became of the request."""
        self._under_way.discard(receipt.name)

    def keep(self, receipt: Receipt, answer: Answer, *, version: int) -> Write:
        """Return what to commit beside the work; it refuses the commit when another request kept an answer meanwhile.

        `version` is what `look_up` found: 0, or that of an expired answer, which is replaced.
        """
        expires_at = self._clock.time() + self.ttl
        value = self._encoder.encode(_Kept(receipt.payload, expires_at, answer))
        entries: Entries = {_EXPIRES: ((int(expires_at),),)}
        if version:
            return Replace(collection=IDEMPOTENCY.name, key=receipt.name, version=version, value=value, entries=entries)
        return Insert(collection=IDEMPOTENCY.name, key=receipt.name, value=value, entries=entries)

    async def purge(self) -> int:
        """Remove up to 100 expired answers; returns how many went."""
        query = Query(collection=IDEMPOTENCY.name, index=_EXPIRES, below=int(self._clock.time()), limit=_PURGE)
        expired = (await self._store.find(query)).records
        if not expired:
            return 0
        try:
            await self._store.commit(
                [Delete(collection=IDEMPOTENCY.name, key=record.key, version=record.version) for record in expired]
            )
        except CommitConflict:  # one of them was used again or purged by another worker: the next round sees
            return 0
        return len(expired)
