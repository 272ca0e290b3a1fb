"""Cache entries: flat, and true to their link."""

from __future__ import annotations

import gc
import math

import pytest
from msgspec.structs import replace

from app.domain import BaseState
from app.links.entry import (
    FORWARDS,
    GONE,
    LIMITED,
    PLAIN,
    TIMED,
    entry_of,
    filled_again,
)
from tests.unit.app.links.doubles import link


@pytest.mark.parametrize(
    ("members", "remaining", "kind"),
    [
        ({}, None, PLAIN),
        ({"starts_at": 1}, None, TIMED),
        ({"expires_at": 1}, None, TIMED),
        ({"max_visits": 3}, 3, LIMITED),
        ({"max_visits": 3}, 0, LIMITED | GONE),
        ({"max_visits": 3}, -1, LIMITED | GONE),
        ({"forward_query": True}, None, FORWARDS),
        ({"base": BaseState.DISABLED}, None, GONE),
        ({"base": BaseState.DELETED}, None, GONE),
        ({"starts_at": 1, "max_visits": 1, "forward_query": True}, 1, TIMED | LIMITED | FORWARDS),
    ],
)
def test_the_kind_says_who_decides(members: dict[str, object], remaining: int | None, kind: int) -> None:
    """Only a link with no time, limit, query or end is plain."""
    assert entry_of(link("abc", **members), remaining=remaining, filled_at=5.0).kind == kind


def test_an_entry_is_flat() -> None:
    """The garbage collector tracks neither it nor its copy, from the first moment, nor anything in it."""
    entry = entry_of(link("abc", starts_at=1_500_000, expires_at=9_000_000, max_visits=3), remaining=3, filled_at=7.0)
    again = filled_again(entry, 8.0)
    assert not gc.is_tracked(entry)
    assert not gc.is_tracked(again)
    assert not any(gc.is_tracked(getattr(entry, name)) for name in entry.__struct_fields__)
    assert entry.location == b"https://example.com/abc"
    assert (entry.code, entry.status, entry.starts_at, entry.expires_at) == (b"abc", 302, 1.5, 9.0)
    assert (entry.filled_at, again.filled_at) == (7.0, 8.0)
    assert replace(again, filled_at=7.0) == entry


def test_a_link_without_times_starts_at_once_and_never_ends() -> None:
    """So comparing needs no case for it."""
    entry = entry_of(link("abc"), remaining=None, filled_at=0.0)
    assert (entry.starts_at, entry.expires_at) == (0.0, math.inf)
