"""A store with any number of links, filled through its port, and a sample of their codes."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.codes import CodeFactory
from app.domain import Link
from app.links import FEED, LinkRepository
from app.main.compose import compose_store
from app.settings import load_settings
from astra_core.clock import SystemClock
from loadtests.figures import progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from app.settings import Settings
    from astra_core.storage import StoreEngine
    from astra_core.storage.writes import Write
    from loadtests.variants import Variant

__all__ = ["Links", "fill", "link_of", "opened_store", "settings_of"]

_LINKS_A_COMMIT = 500
_SAMPLE = 100_000
_TELL_EVERY = 100_000
_STEP = 1_000  # microseconds between two creations


@dataclass(frozen=True, slots=True)
class Links:
    """How many links a store holds, and the codes of some of them, drawn evenly over all."""

    count: int
    codes: list[str]


def link_of(code: str, number: int) -> Link:
    """Return the link that stands for number `number`: a URL of 87 characters, the mean of those people shorten."""
    url = f"https://example.com/articles/{number:012d}/a-title-of-some-length?utm_source=newsletter"
    created = 1_700_000_000_000_000 + number * _STEP
    return Link(code=code, url=url, created_at=created, updated_at=created)


def settings_of(variant: Variant, folder: Path) -> Settings:
    """Return the settings of a service with its data in `folder`."""
    return load_settings(variant.environ(folder)).settings


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[StoreEngine]:
    """Open the store of `settings` alone, without the service round it."""
    store, pools = compose_store(settings, SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        for pool in pools:
            await pool.close()


async def fill(settings: Settings, count: int, *, seed: int) -> Links:
    """Make `count` links in the empty store of `settings`, and trim its changes as a running service would."""
    chosen = random.Random(seed)
    codes: list[str] = []
    async with opened_store(settings) as store:
        factory = CodeFactory(store)
        await factory.open()
        links = LinkRepository(store, keys=factory)
        began = time.monotonic()
        for first in range(0, count, _LINKS_A_COMMIT):
            made = [await factory.next_code() for _ in range(first, min(first + _LINKS_A_COMMIT, count))]
            await store.commit(list(_creations(links, made, first)))
            codes += (code for code in made if chosen.random() * count < _SAMPLE)
            if first % _TELL_EVERY == 0:
                progress(f"{first:,} of {count:,} links made, {time.monotonic() - began:.0f} s")
        await factory.close()
        await store.trim(FEED, keep=settings.store.changes_kept)
    return Links(count, codes)


def _creations(links: LinkRepository, codes: list[str], first: int) -> Iterator[Write]:
    for number, code in enumerate(codes, first):
        yield from links.creation(link_of(code, number))
