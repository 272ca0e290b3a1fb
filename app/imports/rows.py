"""From a file to its rows, one at a time, from any place on: memory is bounded by the longest row allowed.

A row that cannot be read is a row with a fault, and the next one is read as if nothing were. In CSV a quote that is
never closed would take in the rest of the file: its row is at fault as soon as it is too long or malformed, and reading
goes on with the line after the one where it began. So rows depend on the file alone, never on where reading began.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from app.imports.layout import MAX_ROW, Format, Place

if TYPE_CHECKING:
    from _csv import Dialect
    from collections.abc import Generator, Iterator
    from typing import BinaryIO

    from app.imports.layout import Layout

__all__ = ["Cells", "Row", "rows_of"]

Cells: TypeAlias = "dict[str, str | list[str]]"
_ENCODING = "is not UTF-8; save the file as UTF-8"
_LONG = f"is longer than {MAX_ROW} bytes"


class Row(Struct, frozen=True, gc=False):
    """One row: where it ended, the line on which it began, and its JSON or its cells by column; or its `fault`."""

    place: Place
    line: int
    members: bytes | Cells = b""
    fault: str = ""


def rows_of(file: BinaryIO, layout: Layout, at: Place) -> Iterator[Row | None]:
    """Yield the rows behind `at`, and None after each step in which none was found, so that whoever reads may give way.

    A step reads at most as much as a row may have. Blank lines, and lines of empty cells, are no rows. `file` must be
    seekable.
    """
    file.seek(at.offset)
    return _ndjson(file, at) if layout.kind is Format.NDJSON else _csv(file, layout, at)


def _ndjson(file: BinaryIO, at: Place) -> Iterator[Row | None]:
    offset, number, line = at.offset, at.row, at.line
    while text := file.readline(MAX_ROW + 1):
        line += 1
        offset += len(text)
        fault = ""
        if len(text) > MAX_ROW and text[-1] != 10:  # a line feed
            offset += yield from _skip_line(file)
            fault = _LONG
        elif text.isspace():
            yield None
            continue
        number += 1
        yield Row(Place(offset, number, line), line, b"" if fault else text, fault)


def _skip_line(file: BinaryIO) -> Generator[None, None, int]:
    """Read to the end of the line and return how many bytes that were."""
    skipped = 0
    while text := file.readline(MAX_ROW):
        skipped += len(text)
        if text[-1] == 10:
            break
        yield
    return skipped


def _csv(file: BinaryIO, layout: Layout, at: Place) -> Iterator[Row | None]:
    columns, width = layout.columns, len(layout.columns)
    dialect = csv.reader((), delimiter=layout.delimiter, strict=True).dialect  # made once: it costs as much as a row
    ahead = _Ahead(file, dialect)
    began, number, line = at.offset, at.row, at.line
    while text := file.readline(MAX_ROW + 1):
        first = line = line + 1
        end = began + len(text)
        try:
            if len(text) > MAX_ROW:
                end += 0 if text[-1] == 10 else (yield from _skip_line(file))
                raise _Unreadable(_LONG)
            decoded, fault = _decoded(text)
            cells = _cells(decoded, dialect)
            if cells is None:
                text = yield from ahead.record(began, end)
                end, line = began + len(text), line + text.count(b"\n", end - began, -1) + 1
                decoded, fault = _decoded(text)
                cells = _cells(decoded, dialect) or []
            if any(cells[width:]):
                fault = fault or f"has {len(cells)} cells, and the first line names {width} columns"
        except _Unreadable as error:
            cells, fault = [], str(error)
        if fault or any(cells):
            number += 1
            yield Row(Place(end, number, line), first, b"" if fault else _members(columns, cells), fault)
        else:
            yield None
        began = end


class _Unreadable(Exception):  # noqa: N818 - says what it is
    """The row that begins here cannot be read; the text says why."""


class _Ahead:
    """Looks for the end of rows whose first line leaves a quote open, and reads each line for that once.

    A quote that is open at the end of a line is open whatever row it belongs to. So of all rows that have one open
    before `_offset` it is known that they do not end before, and when it is `_over`, that they end there or go wrong.
    """

    def __init__(self, file: BinaryIO, dialect: Dialect) -> None:
        self._file = file
        self._dialect = dialect
        self._offset = 0
        self._over = False
        self._fault = ""

    def record(self, began: int, end: int) -> Generator[None, None, bytes]:
        """Return the row that began at `began`, whose first line ends at `end`. Raises `_Unreadable` back there."""
        if self._offset <= end:
            self._offset, self._over, self._fault = end, False, ""
        while not self._over and self._offset - began <= MAX_ROW:
            self._file.seek(self._offset)
            yield from self._next()
        if self._fault or self._offset - began > MAX_ROW:
            self._file.seek(end)
            raise _Unreadable(_LONG if self._offset - began > MAX_ROW else self._fault)
        self._file.seek(began)
        return self._file.read(self._offset - began)

    def _next(self) -> Generator[None, None, None]:
        text = self._file.readline(MAX_ROW + 1)
        self._offset += len(text)
        if len(text) > MAX_ROW:  # no row has room for it
            self._offset += 0 if text[-1] == 10 else (yield from _skip_line(self._file))
            return
        try:
            if not text:
                raise _Unreadable("is not CSV: unexpected end of data")
            self._over = _cells('"' + text.decode("latin-1"), self._dialect) is not None
        except _Unreadable as error:
            self._over, self._fault = True, str(error)
        yield


def _cells(text: str, dialect: Dialect) -> list[str] | None:
    """Return the cells of a row, None when a quote is open at its end. Raises `_Unreadable`."""
    reader = csv.reader((text, '"'), dialect)  # the second line ends what the first leaves open
    try:
        cells = next(reader)
    except csv.Error as error:
        raise _Unreadable(f"is not CSV: {error}") from None
    return cells if reader.line_num == 1 else None


def _decoded(text: bytes) -> tuple[str, str]:
    """Return the text of a row and what is wrong with its bytes."""
    try:
        return text.decode(), ""
    except UnicodeDecodeError:
        return text.decode(errors="replace"), _ENCODING


def _members(columns: tuple[str, ...], cells: list[str]) -> Cells:
    """Return the cells that hold something; one left empty is a member left out."""
    members: Cells = {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    tags = members.get("tags")
    if isinstance(tags, str):
        members["tags"] = tags.split(",")
    return members
