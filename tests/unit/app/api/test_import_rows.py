"""What a report says of rows that cannot be read: in words of a table for cells, once and plainly for lines."""

from __future__ import annotations

import csv
import io
import json

import pytest

from app.api import draft_of_row, report_of
from app.domain import InvalidLink
from app.domain import Problem as LinkProblem
from app.imports import Cells, Format, Import, Place, Row
from app.service import Outcome
from astra_core.errors import AstraError

TIME = "must be an RFC 3339 time with an offset, such as 2030-12-31T23:59:59Z"


def problem(members: bytes | Cells, fault: str = "") -> str:
    """What a CSV report says of a row."""
    row = Row(Place(1, 1, 1), 1, members, fault)
    error = draft_of_row(row, "")
    assert isinstance(error, AstraError)
    about = Import(name="", kind=Format.CSV, report=Format.CSV, size=1, base="", created_at=0)
    (line,) = csv.reader(io.StringIO(report_of(about, [row], [Outcome(error=error)]).decode()))
    assert line[3:5] == ["", ""]
    return line[5]


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        *(
            ("max_visits", cell, "must be a whole number from 1 to 9007199254740992")
            for cell in ("x", "3.5", "0", "1e99")
        ),
        ("redirect_status", "moved", "must be 301, 302, 307 or 308"),
        *(
            (name, cell, TIME)
            for name in ("starts_at", "expires_at")
            for cell in ("tomorrow", "2030-01-01T00:00:00", "9" * 20)
        ),
        *(
            (name, cell, "must be true or false")
            for name in ("forward_query", "private", "reuse")
            for cell in ("yes", "2")
        ),
        ("title", "x" * 301, "must be at most 300 characters"),
    ],
)
def test_a_cell_that_cannot_be_read_is_told_of_without_types(column: str, cell: str, words: str) -> None:
    """Whoever writes a table knows its columns, and neither `int` nor null."""
    assert problem({"url": "https://a.example", column: cell}) == f"{column} {words}"


def test_the_other_faults_of_a_row_of_cells_are_plain_too() -> None:
    """A missing URL, too many tags, a row that has too many cells."""
    assert problem({"title": "x"}) == "url is missing; it is required"
    too_many = problem({"url": "https://a.example", "tags": [str(number) for number in range(21)]})
    assert too_many == "tags must be at most 20 tags, separated by commas"
    assert problem(b"", "has 3 cells, and the first line names 2 columns").startswith("The row has 3 cells")


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_no_cell_of_a_report_is_a_formula(mark: str) -> None:
    """What a row's sender wrote stands behind an apostrophe, which spreadsheets take for the beginning of a text."""
    line = json.dumps({"url": "https://a.example", f'{mark}=HYPERLINK("http://evil.example","x")': 1}).encode()
    assert problem(line).startswith((f"'{mark}=HYPERLINK", "'=HYPERLINK"))  # white space is left out


def test_tags_are_numbered_as_people_count() -> None:
    """A pointer into JSON says nothing to whoever looks at a cell."""
    row = Row(Place(1, 1, 1), 1, {"url": "https://a.example", "tags": ["x", "x"]})
    about = Import(name="", kind=Format.CSV, report=Format.CSV, size=1, base="", created_at=0)
    error = InvalidLink([LinkProblem("/tags/1", "repeats /tags/0")])
    assert b"tag 2 repeats tag 1" in report_of(about, [row], [Outcome(error=error)])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"https://a.example\n", "invalid character (byte 0)"),
        (b'{"url": \n', "it breaks off"),
        (b'{"url": "\xff"}\n', "it is not UTF-8; save the file as UTF-8"),
        (b'{"url": ' + b"[" * 100_000, ""),
    ],
)
def test_a_line_that_is_no_json_is_told_of_once(line: bytes, words: str) -> None:
    """It is a line and not a body, and what is wrong with it is said once."""
    said = problem(line)
    if words:
        assert said == f"The line is not JSON: {words}."
    assert "malformed" not in said
    assert "body" not in said
