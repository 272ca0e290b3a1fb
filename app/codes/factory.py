"""Where codes come from: blocks of a counter in the store, each number through the permutation, as 7 characters."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from app.codes.base62 import encode
from app.codes.errors import CodesExhausted
from app.codes.key import settle_codes
from app.codes.permutation import CODE_COUNT
from app.domain.rules import is_reserved
from astra_core.clock import SystemClock
from astra_core.detached import detached
from astra_core.errors import ConfigError, StoreUnavailable
from astra_core.storage.writes import Add

if TYPE_CHECKING:
    from app.codes.scheme import Codes
    from astra_core.clock import Clock
    from astra_core.storage.store import Store

__all__ = ["BLOCK", "PRIVATE_LENGTH", "REGIONS", "REGION_CODES", "CodeFactory"]

PRIVATE_LENGTH = 12
REGIONS = 64
REGION_CODES = CODE_COUNT // REGIONS
"""Codes of one region: 55,025,228,222, the same for all, for 64 divides 62**7."""
BLOCK = 10_000
COUNTERS = "codes"
"""The counter set; the counter of a region is `next:<region>`."""

_REGION_BITS = 6
_RETRY_AFTER = 1.0


class CodeFactory:
    """Gives out codes that no other factory on any store of the same key gives out, as long as regions differ.

    A number is `sequence << 6 | region`: 64 regions never collide and never talk. Sequences come in blocks, from a
    counter of the store moved by one durable commit a block; the next block is fetched in the background when a fifth
    of this one is left, so `next_code` seldom waits. A number taken and not used, and the rest of a block when the
    process ends, are lost: a region has 5.5 million blocks of the default size.
    """

    def __init__(
        self,
        store: Store,
        *,
        region: int = 0,
        block: int = BLOCK,
        key: bytes | None = None,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        """`key` is 16 to 32 bytes, None to use the store's; `randomness` must be fit for secrets, as the default is."""
        _check(region, block, key)
        self._store = store
        self._region = region
        self._block = block
        self._key = key
        self._clock: Clock = clock or SystemClock()
        self._randomness = randomness or random.SystemRandom()
        self._codes: Codes | None = None
        self._next = self._end = self._floor = 0
        self._spare: tuple[int, int] | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._retry_at = float("-inf")

    @property
    def left(self) -> int:
        """Numbers at hand before the next block."""
        return self._end - self._next + (self._spare[1] - self._spare[0] if self._spare else 0)

    def __repr__(self) -> str:
        return f"CodeFactory(region={self._region}, block={self._block}, left={self.left})"

    async def open(self) -> None:
        """Make or read the key. Raises `CodeKeyMismatch`, `StoreUnavailable`."""
        self._codes = await settle_codes(self._store, self._key, randomness=self._randomness.randbytes)

    async def close(self) -> None:
        """Stop the fetch under way, if any; callers that wait for it get `StoreUnavailable`."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait({self._fetch})

    def code_at_hand(self) -> str | None:
        """Return what `next_code` would, or None where it takes that: a block is used up, or a code is reserved."""
        if self._codes is None or self._next == self._end:
            return None
        number = self._next
        self._next = number + 1
        if self._spare is None and self._fetch is None and (self._end - number - 1) * 5 <= self._block:
            self._prefetch()
        code = self._codes.code(number << _REGION_BITS | self._region)
        return None if is_reserved(code) else code

    async def next_code(self) -> str:
        """Return a code never given out before, of 7 characters, not a reserved word.

        It may still equal a custom code, so insert if absent, and take another on conflict. Suspends only when no
        number is left; all who wait share one fetch. Raises `StoreUnavailable` then, and `CodesExhausted`.
        """
        self._opened()
        while True:
            if self._next == self._end:
                if self._spare is None:
                    await self._fetched()
                    continue
                (self._next, self._end), self._spare = self._spare, None
            if (code := self.code_at_hand()) is not None:
                return code

    def private_code(self) -> str:
        """Return a code of 12 random characters (71 bits), which nobody can guess; insert it if absent all the same."""
        return encode(self._randomness.randrange(62**PRIVATE_LENGTH), PRIVATE_LENGTH)

    def sort_key(self, code: str) -> str:
        """See `Codes.sort_key`. Raises `StoreUnavailable` before the factory is open."""
        return self._opened().sort_key(code)

    def code_of(self, sort_key: str) -> str:
        """See `Codes.code_of`. Raises `StoreUnavailable` before the factory is open."""
        return self._opened().code_of(sort_key)

    async def advance(self, blocks: int) -> None:
        """Move the counter past `blocks` blocks and drop the numbers at hand: for a store restored from a backup.

        Codes given out since that backup would come again, and lead elsewhere than they once did. Pass at least one
        block for each start of each process since, and one for each 10,000 links; when in doubt, a thousand.
        """
        if blocks < 1:
            raise ValueError("blocks must be at least 1")
        (self._floor,) = await self._store.commit([self._add(blocks * self._block)])
        self._next = self._end = 0
        self._spare = None

    def _opened(self) -> Codes:
        if self._codes is None:
            raise StoreUnavailable("codes: the factory is not open")
        return self._codes

    def _add(self, amount: int) -> Add:
        return Add(counters=COUNTERS, amounts={f"next:{self._region}": amount})

    def _prefetch(self) -> None:
        if self._clock.monotonic() >= self._retry_at:
            self._start_fetch()

    def _start_fetch(self) -> asyncio.Task[None]:
        fetch = self._fetch = asyncio.get_running_loop().create_task(self._fetch_block(), context=detached())
        fetch.add_done_callback(self._note_end)  # the first callback: it runs before any waiter goes on
        return fetch

    async def _fetched(self) -> None:
        fetch = self._fetch or self._start_fetch()
        try:
            await asyncio.shield(fetch)
        except asyncio.CancelledError:
            if fetch.cancelled():
                raise StoreUnavailable("codes: the factory was closed") from None
            raise

    async def _fetch_block(self) -> None:
        (balance,) = await self._store.commit([self._add(self._block)])
        if balance > REGION_CODES:
            raise CodesExhausted(self._region)
        if balance - self._block >= self._floor:  # else `advance` overtook this fetch
            self._spare = (balance - self._block, balance)

    def _note_end(self, fetch: asyncio.Task[None]) -> None:
        """Let the next fetch begin; after a failure the background waits first, lest every code taken try again."""
        self._fetch = None
        if not fetch.cancelled() and (error := fetch.exception()) is not None:
            pause = error.retry_after if isinstance(error, StoreUnavailable) else _RETRY_AFTER
            self._retry_at = self._clock.monotonic() + pause


def _check(region: int, block: int, key: bytes | None) -> None:
    problems = []
    if not 0 <= region < REGIONS:
        problems.append(f"codes.region: must be 0 to {REGIONS - 1}, not {region}")
    if block < 1:
        problems.append(f"codes.block: must be at least 1, not {block}")
    if key is not None and not 16 <= len(key) <= 32:
        problems.append(f"codes.key: must be 16 to 32 bytes, not {len(key)}")
    if problems:
        raise ConfigError(problems)
