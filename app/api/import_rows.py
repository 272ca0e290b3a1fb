"""Rows of an import: read as the bodies of `POST /v1/links` are, and reported on as its answers would have been."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from app.api.links import draft_of
from app.api.models import ItemProblem, NewLink
from app.api.payload import validation_problem, why_not_json
from app.api.problems import RequestRefused, problem_of, refuse
from app.domain.rules import MAX_TAGS, MAX_TITLE_LENGTH, MAX_VISITS
from app.imports import Format
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.imports import Import, Row
    from app.service import Draft, Outcome
    from astra_core.asgi import Problem

__all__ = ["REPORT_HEAD", "draft_of_row", "report_of"]

_TIME = "must be an RFC 3339 time with an offset, such as 2030-12-31T23:59:59Z"
_TRUTH = "must be true or false"
_CELLS = {
    "max_visits": f"must be a whole number from 1 to {MAX_VISITS}",
    "redirect_status": "must be 301, 302, 307 or 308",
    "starts_at": _TIME,
    "expires_at": _TIME,
    "forward_query": _TRUTH,
    "private": _TRUTH,
    "reuse": _TRUTH,
    "tags": f"must be at most {MAX_TAGS} tags, separated by commas",
    "title": f"must be at most {MAX_TITLE_LENGTH} characters",
}
"""What a cell must be when it cannot be read: in a table there are no types to speak of."""
_PLACE = re.compile(r"/?\btags/(\d+)")

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula, by OWASP's page on CSV injection.

Only a problem quotes what others wrote: a code that begins with `-` holds nothing that could call anything, and stays
as it is for programs to read.
"""

REPORT_HEAD = b"row,line,status,code,short_url,problem\r\n"
"""The first line of a CSV report."""

_new = msgspec.json.Decoder(NewLink)
_encode = msgspec.json.Encoder().encode


def draft_of_row(row: Row, via: str) -> Draft | AstraError:
    """Return the link that a row asks for, or what refuses it."""
    if row.fault:
        return refuse(422, f"The row {row.fault}.")
    try:
        if isinstance(row.members, bytes):
            return draft_of(_new.decode(row.members), via)
        return draft_of(msgspec.convert(row.members, NewLink, strict=False), via)
    except msgspec.ValidationError as error:
        problem = validation_problem(error)
        return RequestRefused(problem if isinstance(row.members, bytes) else _of_cells(problem))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = why_not_json(error, row.members if isinstance(row.members, bytes) else b"")
        remedy = "; save the file as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        return refuse(400, f"The line is not JSON: {why}{remedy}.")
    except AstraError as error:
        return error


def _of_cells(problem: Problem) -> Problem:
    """Return the problem as one of a table; what a column must be depends on its name alone."""
    faults = (
        replace(each, detail=_CELLS.get(each.pointer[1:].partition("/")[0], each.detail)) for each in problem.errors
    )
    return replace(problem, errors=tuple(faults))


def report_of(about: Import, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> bytes:
    """Return one line a row: number, first line, status, code and short URL or problem."""
    if about.report is Format.CSV:
        text = io.StringIO()
        csv.writer(text).writerows(_cells(about.base, rows, outcomes))
        return text.getvalue().encode()
    lines = [_encode(_members(about.base, row, outcome)) for row, outcome in zip(rows, outcomes, strict=True)]
    lines.append(b"")
    return b"\n".join(lines)


def _cells(base: str, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for row, outcome in zip(rows, outcomes, strict=True):
        number, snapshot = row.place.row, outcome.snapshot
        if snapshot is not None:
            code = snapshot.link.code
            yield number, row.line, 201 if outcome.created else 200, code, f"{base}/{code}", ""
        else:
            problem = _problem(outcome.error)
            yield number, row.line, problem.status, "", "", _in_words(problem)


def _members(base: str, row: Row, outcome: Outcome) -> dict[str, object]:
    members: dict[str, object] = {"row": row.place.row, "line": row.line}
    if outcome.snapshot is not None:
        code = outcome.snapshot.link.code
        return members | {"status": 201 if outcome.created else 200, "code": code, "short_url": f"{base}/{code}"}
    problem = _problem(outcome.error)
    return members | {"status": problem.status, "problem": msgspec.convert(problem.members(), ItemProblem)}


def _problem(error: AstraError | None) -> Problem:
    problem = problem_of(error or AstraError())
    if problem is None:
        raise error or AstraError("nothing became of the row")
    return problem


def _in_words(problem: Problem) -> str:
    """Return a problem as one sentence; a table has no room for more, and it may be opened as a spreadsheet."""
    faults = "; ".join(f"{fault.pointer[1:]} {fault.detail}".strip() for fault in problem.errors)
    words = _PLACE.sub(lambda found: f"tag {int(found[1]) + 1}", faults) or problem.detail
    return f"'{words}" if words.startswith(_FORMULA) else words
