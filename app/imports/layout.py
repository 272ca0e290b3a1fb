"""How a file of links is laid out, told by its first line: which format, which columns, and where its rows begin."""

from __future__ import annotations

import csv
from enum import StrEnum

from msgspec import Struct

from app.imports.errors import InvalidImport

__all__ = ["COLUMNS", "HEAD", "MAX_ROW", "Format", "Layout", "Place", "layout_of"]

COLUMNS = (
    "url",
    "code",
    "starts_at",
    "expires_at",
    "max_visits",
    "redirect_status",
    "forward_query",
    "tags",
    "title",
    "private",
    "reuse",
)
"""What a CSV header may name: the members of a new link."""
MAX_ROW = 128 * 1024
"""Bytes of a row; the longest URL that a setting allows has half of that."""
HEAD = MAX_ROW + 3
"""Bytes of a file that tell its layout: a line, behind a byte order mark."""

_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
    b"\x1f\x8b": "is compressed by gzip; send it unpacked",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet; save it as CSV in UTF-8",
}
_DELIMITERS = ",;\t"


class Format(StrEnum):
    """What a file, or a report, is written in."""

    CSV = "csv"
    NDJSON = "ndjson"


class Place(Struct, frozen=True):
    """Where a row ended: the byte after it, its number and the number of its last line, both from 1."""

    offset: int = 0
    row: int = 0
    line: int = 0


class Layout(Struct, frozen=True):
    """Format, where the rows begin, and of CSV the delimiter and the columns in their order."""

    kind: Format
    start: Place
    delimiter: str = ","
    columns: tuple[str, ...] = ()


def layout_of(head: bytes, kind: Format) -> Layout:
    """Return the layout of a file that begins with `head`. Raises `InvalidImport`."""
    skip = len(_BOM) if head.startswith(_BOM) else 0
    for mark, fault in _FOREIGN.items():
        if head.startswith(mark):
            raise InvalidImport(f"The file {fault}.")
    if not head[skip:].strip():
        raise InvalidImport("The file is empty; it needs at least one row.")
    return Layout(Format.NDJSON, Place(skip)) if kind is Format.NDJSON else _csv(head, skip)


def _csv(head: bytes, skip: int) -> Layout:
    end = head.find(b"\n", skip) + 1 or len(head)
    try:
        line = head[skip:end].decode()
    except UnicodeDecodeError:
        raise InvalidImport("The first line is not UTF-8; save the file as CSV in UTF-8.") from None
    named = {delimiter: _names(line, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(named, key=lambda each: len(named[each]))
    columns = named[delimiter]
    _check(columns)
    return Layout(Format.CSV, Place(end, 0, 1), delimiter, columns)


def _names(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return ()
    names = [cell.strip().lower() for cell in rows[0]] if rows else []
    while names and not names[-1]:  # a spreadsheet writes the columns behind the last, which are empty
        names.pop()
    return tuple(names)


def _check(columns: tuple[str, ...]) -> None:
    known = ", ".join(COLUMNS)
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or not columns:
        named = ", ".join(repr(name[:40]) for name in unknown[:5]) or "nothing"
        raise InvalidImport(f"The first line must name the columns, each one of {known}; it names {named}.")
    if len(set(columns)) < len(columns):
        raise InvalidImport("The first line names a column twice; remove one of them.")
    if "url" not in columns:
        raise InvalidImport("The first line names no column url; every link needs one.")
