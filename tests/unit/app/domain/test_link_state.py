from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.links import BaseState, Link, LinkState, state_of

LINK = Link(code="abc", url="https://example.com/", created_at=5, updated_at=5, starts_at=10, expires_at=20)


@pytest.mark.parametrize(
    ("base", "now", "remaining", "state"),
    [
        (BaseState.ACTIVE, 9, 1, LinkState.SCHEDULED),
        (BaseState.ACTIVE, 10, 1, LinkState.ACTIVE),
        (BaseState.ACTIVE, 19, None, LinkState.ACTIVE),
        (BaseState.ACTIVE, 20, 1, LinkState.EXPIRED),
        (BaseState.ACTIVE, 20, 0, LinkState.EXHAUSTED),
        (BaseState.ACTIVE, 9, 0, LinkState.EXHAUSTED),
        (BaseState.DISABLED, 20, 0, LinkState.DISABLED),
        (BaseState.DELETED, 9, 0, LinkState.DELETED),
    ],
)
def test_times_and_limits_decide_in_a_fixed_order(
    base: BaseState, now: int, remaining: int | None, state: LinkState
) -> None:
    """Deleted wins, then disabled, exhausted, expired, scheduled; a start or expiry counts from its very moment."""
    assert state_of(msgspec.structs.replace(LINK, base=base), now, remaining) is state


@given(
    link=st.builds(
        Link,
        code=st.text("aB3_-", min_size=3),
        url=st.just("https://example.com/"),
        created_at=st.integers(0, 2**53),
        updated_at=st.integers(0, 2**53),
        starts_at=st.none() | st.integers(0, 2**53),
        expires_at=st.none() | st.integers(0, 2**53),
        max_visits=st.none() | st.integers(1, 2**53),
        redirect_status=st.sampled_from([301, 302, 307, 308]),
        forward_query=st.booleans(),
        tags=st.lists(st.text(max_size=4), max_size=3).map(tuple),
        title=st.none() | st.text(max_size=4),
        private=st.booleans(),
        base=st.sampled_from(BaseState),
    )
)
def test_a_record_survives_being_stored(link: Link) -> None:
    """Any link encodes to bytes and decodes to an equal one, tags still a tuple."""
    decoded = msgspec.json.decode(msgspec.json.encode(link), type=Link)
    assert decoded == link
    assert isinstance(decoded.tags, tuple)


def test_records_of_other_versions_decode() -> None:
    """A field that is not known is skipped, and one that is missing takes its default."""
    raw = b'{"code":"abc","url":"https://e.com/","created_at":1,"updated_at":2,"colour":"red"}'
    assert msgspec.json.decode(raw, type=Link) == Link(code="abc", url="https://e.com/", created_at=1, updated_at=2)
