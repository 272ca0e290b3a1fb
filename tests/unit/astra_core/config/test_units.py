"""Durations, sizes and secrets."""

from __future__ import annotations

import contextlib
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.config import Secret, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5.0), ("2m", 120.0), ("24h", 86_400.0), ("7d", 604_800.0), ("1.5", 1.5), (" 3 s ", 3.0)],
)
def test_a_duration_is_read_in_its_unit(text: str, seconds: float) -> None:
    """A number and a unit give seconds; a bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 minutes", "-1s", "5S", "1h30m", "nan", "inf", "1e999d", "٣s", "5s\n6", "0x5"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused, never guessed."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.floats(min_value=0, max_value=1e15, allow_nan=False))
def test_a_duration_survives_being_written_and_read(seconds: float) -> None:
    """The written form gives back exactly the same seconds."""
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("64MiB", 64 * 1024**2), ("10KB", 10_000), ("1.5KiB", 1536), ("7", 7), ("7 B", 7), ("1gib", 1024**3)],
)
def test_a_size_is_read_in_its_unit(text: str, count: int) -> None:
    """KiB counts in 1,024s, KB in 1,000s, a bare number in bytes."""
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "64M", "-1", "1.5", "0.1KB1", "1e9", "9" * 30, "1 000", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A part of a byte, an unclear unit or an endless number is refused."""
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**63))
def test_a_size_survives_being_written_and_read(count: int) -> None:
    """The written form gives back exactly the same bytes."""
    assert parse_size(format_size(count)) == count


@given(st.text())
def test_junk_is_a_value_error_or_a_number(text: str) -> None:
    """No text makes a parser fail in any other way."""
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0


def test_a_secret_shows_itself_only_when_asked() -> None:
    """No way of printing a secret gives its text; `reveal` does, and equality works."""
    secret = Secret("hunter2")
    assert {str(secret), repr(secret), f"{secret}", f"{[secret]}"} == {"***", "[***]"}
    assert secret.reveal() == "hunter2"
    assert secret == copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret))
    assert secret != Secret("other")
    assert secret != "hunter2"
