from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codes import base62
from app.codes.permutation import CODE_COUNT, Permutation
from app.codes.scheme import SCHEME

KEY = b"a key for tests, and for no more"
permutation_of = partial(Permutation, rounds=SCHEME.rounds, lead=SCHEME.lead)
PERMUTATION = permutation_of(KEY)
numbers = st.integers(0, CODE_COUNT - 1)


@pytest.mark.parametrize(("half_bits", "size"), [(1, 3), (5, 1000), (5, 1024), (6, 1025), (6, 4095), (8, 9)])
def test_a_small_domain_is_permuted_onto_itself(half_bits: int, size: int) -> None:
    """Every number of the domain is reached exactly once, and inverting leads back, also when most walks are long."""
    permutation = permutation_of(KEY, half_bits=half_bits, size=size)
    places = [permutation.permute(number) for number in range(size)]
    assert sorted(places) == list(range(size))
    assert [permutation.invert(place) for place in places] == list(range(size))


@given(numbers)
def test_inverting_leads_back_on_the_whole_domain(number: int) -> None:
    """For any number of the full size the place lies in the domain, and invert and permute undo each other."""
    place = PERMUTATION.permute(number)
    assert 0 <= place < CODE_COUNT
    assert PERMUTATION.invert(place) == number
    assert PERMUTATION.permute(PERMUTATION.invert(number)) == number


def test_another_key_gives_another_order() -> None:
    """Two keys agree on hardly any of the first numbers."""
    other = permutation_of(b"k" * 16)
    assert sum(PERMUTATION.permute(number) == other.permute(number) for number in range(1000)) <= 1


def test_neighbours_do_not_stand_near_each_other() -> None:
    """Places of consecutive numbers rise as often as they fall and fill the domain evenly; their codes look unlike.

    The bounds stand over five standard deviations away from what chance gives; the key is fixed, so is the outcome.
    """
    places = [PERMUTATION.permute(number << 6) for number in range(10_000)]
    rises = sum(left < right for left, right in pairwise(places))
    assert 4_850 <= rises <= 5_150
    tenths = [0] * 10
    for place in places:
        tenths[place * 10 // CODE_COUNT] += 1
    assert all(850 <= count <= 1_150 for count in tenths)
    codes = [base62.encode(place, 7) for place in places]
    for position in range(7):
        same = sum(left[position] == right[position] for left, right in pairwise(codes))
        assert 95 <= same <= 230, f"character {position}"


def test_numbers_outside_are_refused() -> None:
    """Neither direction takes a number outside the domain, nor is a domain made that the halves cannot hold."""
    for number in (-1, CODE_COUNT):
        with pytest.raises(ValueError, match="outside"):
            PERMUTATION.permute(number)
        with pytest.raises(ValueError, match="outside"):
            PERMUTATION.invert(number)
    with pytest.raises(ValueError, match="size"):
        permutation_of(KEY, half_bits=2, size=17)


@given(st.integers(0, 62**12 - 1), st.sampled_from([7, 12, 13]))
def test_base62_round_trips_at_fixed_width(number: int, width: int) -> None:
    """A number decodes from its text, which has exactly the width asked for; text sorts as its number does."""
    if number >= 62**width:
        with pytest.raises(OverflowError):
            base62.encode(number, width)
        return
    text = base62.encode(number, width)
    assert len(text) == width
    assert base62.decode(text) == number


def test_base62_ends_and_refusals() -> None:
    """Its ends are all 0 and all z; what does not fit, is negative or is no digit is refused."""
    assert (base62.encode(0, 7), base62.encode(62**7 - 1, 7), base62.encode(61, 1)) == ("0000000", "zzzzzzz", "z")
    for number in (-1, 62**7):
        with pytest.raises(OverflowError):
            base62.encode(number, 7)
    with pytest.raises(KeyError):
        base62.decode("ab-")
