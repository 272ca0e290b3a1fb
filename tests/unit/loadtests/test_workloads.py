"""What the load tests send and watch."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

from app.links.cache import ClockCache
from loadtests.connection import parse_head
from loadtests.full_cache import Collections, counted, put_all
from loadtests.hit_ratio import zipf
from loadtests.many_links import link_of

if TYPE_CHECKING:
    from app.links import Entry


def test_visits_are_skewed_and_repeatable() -> None:
    """The first link gets the most visits, the second about half of that, and a seed fixes them all."""
    visits = zipf(100, draws=10_000, seed=3)
    counts = Counter(visits)
    assert visits == zipf(100, draws=10_000, seed=3)
    assert counts.most_common(1)[0][0] == 0
    assert 0.4 < counts[1] / counts[0] < 0.6


def test_a_head_is_parsed_without_regard_to_case() -> None:
    """Header names come in lower case, values without the space round them."""
    head = b"HTTP/1.1 410 Gone\r\nContent-Length: 12\r\nLOCATION:  https://example.com/a:b \r\n\r\n"
    assert parse_head(head) == (410, {"content-length": "12", "location": "https://example.com/a:b"})


def test_full_collections_are_timed_while_watched() -> None:
    """Only full collections count, and the interpreter is left as it was."""
    hooks = list(gc.callbacks)
    with Collections() as collections:
        gc.collect(0)
        gc.collect()
    assert collections.count == 1
    assert collections.longest > 0
    assert gc.callbacks == hooks


def test_a_full_cache_keeps_to_its_bound() -> None:
    """Filling past the bound replaces entries, and each of them is paid for."""
    cache: ClockCache[Entry] = ClockCache(100)
    put_all(cache, 0, 101)
    assert len(cache) == 100
    assert counted(cache) > len(link_of("code", 0).url)
