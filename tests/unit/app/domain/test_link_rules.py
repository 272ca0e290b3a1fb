from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import InvalidLink, ReservedCode
from app.domain.rules import LATEST, MAX_VISITS, Problem, check_code, check_fields, check_times, clean_tags, is_reserved


@pytest.mark.parametrize("code", ["abc", "A-z_9", "-_-", "a" * 64])
def test_a_well_formed_code_is_accepted(code: str) -> None:
    """Three to 64 letters, digits, dashes and underscores."""
    assert check_code(code) == []


@pytest.mark.parametrize(
    "code", ["", "ab", "a" * 65, "a.b", "a b", "abc\n", "\u00e4bc", "\u0661\u0662\u0663", "a/b", "a%20"]
)
def test_another_code_is_refused(code: str) -> None:
    """Anything else is a problem of /code, a final line break and letters beyond ASCII included."""
    assert [problem.pointer for problem in check_code(code)] == ["/code"]


OURS = ["v0", "v1", "V99", "ui", "docs", "STATIC", "admin", "Api", "healthz", "readyz", "metrics"]
FILES = ["openapi.json", "favicon.ico", "robots.txt"]


@pytest.mark.parametrize("code", [*OURS, *FILES])
def test_the_service_keeps_its_own_words(code: str) -> None:
    """Reserved words are reserved in every case."""
    assert is_reserved(code)


@pytest.mark.parametrize("code", ["v100", "v", "v01", "apis", "health", "abc"])
def test_words_like_them_are_free(code: str) -> None:
    """Only the words themselves are reserved."""
    assert not is_reserved(code)


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({}, []),
        ({"starts_at": 10, "expires_at": 11, "now": 10}, []),
        ({"starts_at": 10, "expires_at": 10}, ["/expires_at"]),
        ({"expires_at": 10, "now": 10}, ["/expires_at"]),
        ({"expires_at": 10}, []),
        ({"starts_at": 5, "now": 10}, []),
        ({"starts_at": -1}, ["/starts_at"]),
        ({"expires_at": LATEST}, ["/expires_at"]),
        ({"expires_at": LATEST - 1}, []),
        ({"max_visits": 1}, []),
        ({"max_visits": MAX_VISITS}, []),
        ({"max_visits": 0}, ["/max_visits"]),
        ({"max_visits": MAX_VISITS + 1}, ["/max_visits"]),
        ({"redirect_status": 308}, []),
        ({"redirect_status": 303}, ["/redirect_status"]),
        ({"tags": ["t" * 64] + [str(n) for n in range(19)]}, []),
        ({"tags": [str(n) for n in range(21)]}, ["/tags"]),
        ({"tags": ["", "a", "t" * 65, "a", "b\n", "c\x7f", "A"]}, [f"/tags/{n}" for n in (0, 2, 3, 4, 5)]),
        ({"title": "t" * 300}, []),
        ({"title": "t" * 301}, ["/title"]),
        ({"title": "a\tb"}, ["/title"]),
        ({"title": "\ud800"}, ["/title"]),
        ({"title": "\u2028"}, ["/title"]),
        ({"title": "\u65e5\u672c \U0001f600"}, []),
    ],
)
def test_each_field_has_its_rule(fields: dict[str, Any], pointers: list[str]) -> None:
    """A broken rule gives a problem that points at its field; the limits themselves are allowed."""
    assert [problem.pointer for problem in check_fields(**fields)] == pointers


def test_all_problems_come_at_once() -> None:
    """Several broken fields give several problems, which an error can carry."""
    problems = check_fields(expires_at=1, starts_at=2, now=3, max_visits=0, redirect_status=200, title="\n", tags=[""])
    assert len(problems) == 6
    error = InvalidLink(problems)
    assert error.problems == tuple(problems)
    assert str(InvalidLink([Problem("/a", "b"), Problem("/c", "d")])) == "/a: b; /c: d"


def test_a_patch_can_check_times_alone() -> None:
    """An edit of an expired link may leave its expiry in the past."""
    assert check_times(starts_at=None, expires_at=1) == []


def test_tags_lose_the_spaces_around_them() -> None:
    """Spaces around a tag mean nothing, so a tag of spaces is an empty one and two spellings are one."""
    assert clean_tags([" a ", "a", " "]) == ("a", "a", "")
    assert [problem.pointer for problem in check_fields(tags=clean_tags([" a ", "a", " "]))] == ["/tags/1", "/tags/2"]


def test_a_reserved_code_has_its_own_error() -> None:
    """The API answers 409 to it, not 422, so it is no rule among the others."""
    assert ReservedCode("api").code == "api"
