from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codes import base62
from app.codes.permutation import CODE_COUNT
from app.codes.scheme import SCHEME, SCHEMES, Codes, Scheme
from app.domain.rules import check_code

KEY = b"a key for tests, and for no more"
FIRST = SCHEMES["feistel-8-blake2s-21"]
PINNED = {
    "feistel-8-blake2s-21": {0: "uq8yZiI", 1: "dguGxhD", 64: "SKbRrXf", CODE_COUNT - 1: "8i0z5Fq"},
    "feistel-6-blake2s-21-sorted": {0: "F6At0hT", 1: "kfngIAp", 64: "YphHP9w", CODE_COUNT - 1: "nyKBIKS"},
}
numbers = st.integers(0, CODE_COUNT - 1)
codes = st.from_regex(r"[A-Za-z0-9_-]{3,12}", fullmatch=True) | st.from_regex(r"[A-Za-z0-9]{7}", fullmatch=True)


def test_a_scheme_gives_the_same_codes_for_ever() -> None:
    """Codes given out years ago must not come again: under each scheme's name, these numbers keep these codes."""
    assert {
        name: {number: Codes(scheme, KEY).code(number) for number in PINNED[name]} for name, scheme in SCHEMES.items()
    } == PINNED
    assert SCHEME is SCHEMES["feistel-6-blake2s-21-sorted"]


def test_sort_keys_stand_in_the_order_that_codes_were_made_in() -> None:
    """Codes of rising numbers rise and fall; their sort keys rise, whether asked for at once or long after."""
    made, later = Codes(SCHEME, KEY), Codes(SCHEME, KEY)
    given_out = [(code := made.code(number), made.sort_key(code)) for number in range(0, 64_000, 64)]
    assert all(before[1] < after[1] for before, after in pairwise(given_out))
    assert any(before[0] > after[0] for before, after in pairwise(given_out))
    assert [later.sort_key(code) for code, _ in given_out] == [key for _, key in given_out]
    assert later.sort_key(made.code(CODE_COUNT - 1)) > given_out[-1][1]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@given(st.sets(codes, min_size=2, max_size=8))
def test_no_two_codes_share_a_sort_key(scheme: Scheme, some: set[str]) -> None:
    """Whatever the codes, custom ones of any form too: each has a sort key of its own, and that leads back to it."""
    of = Codes(scheme, KEY)
    keys = {of.sort_key(code): code for code in some}
    assert len(keys) == len(some)
    assert {key: of.code_of(key) for key in keys} == keys


@given(numbers)
def test_a_sort_key_made_of_a_number_is_no_code(number: int) -> None:
    """Nobody can make a custom code that is the sort key of another, nor find a link by one: they can be counted up."""
    of = Codes(SCHEME, KEY)
    key = of.sort_key(of.code(number))
    assert check_code(key)
    assert of.sort_key(key) not in (key, of.code(number))


def test_only_codes_of_seven_digits_and_letters_sort_by_a_number() -> None:
    """Others are their own sort keys: shorter, longer, or with characters that no code made of a number has."""
    of = Codes(SCHEME, KEY)
    for code in ("abc", "abcdef", "abcdefgh", "abc-def", "_234567", base62.encode(62**12 - 1, 12)):
        assert of.sort_key(code) == code
    assert of.sort_key("zzzzzzz").startswith("#")


def test_the_first_scheme_keeps_links_by_their_codes() -> None:
    """A store that was begun with it has its links there."""
    of = Codes(FIRST, KEY)
    assert of.sort_key(of.code(5)) == of.code(5) == of.code_of(of.code(5))
