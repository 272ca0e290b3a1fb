"""Rows of an import: read as the bodies of `POST /v1/links` are, and reported on as its answers would have been."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import msgspec

from app.api.links import draft_of
from app.api.models import ItemProblem, NewLink
from app.api.payload import decode, validation_problem
from app.api.problems import RequestRefused, problem_of, refuse
from app.imports import Format
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.imports import Import, Row
    from app.service import Draft, Outcome
    from astra_core.asgi import Problem

__all__ = ["REPORT_HEAD", "draft_of_row", "report_of"]

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
            return draft_of(decode(_new, row.members), via)
        return draft_of(msgspec.convert(row.members, NewLink, strict=False), via)
    except msgspec.ValidationError as error:
        return RequestRefused(validation_problem(error))
    except AstraError as error:
        return error


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
    """Return a problem as one sentence; a table has no room for more."""
    faults = "; ".join(f"{fault.pointer[1:].replace('/', ' ')} {fault.detail}" for fault in problem.errors)
    return faults or problem.detail or ""
