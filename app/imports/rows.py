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
    from collections.abc import Iterator
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


def rows_of(file: BinaryIO, layout: Layout, at: Place) -> Iterator[Row]:
    """Yield the rows behind `at`; blank lines, and lines of empty cells, are none. `file` must be seekable."""
    file.seek(at.offset)
    return _ndjson(file, at) if layout.kind is Format.NDJSON else _csv(file, layout, at)


def _ndjson(file: BinaryIO, at: Place) -> Iterator[Row]:
    offset, number, line = at.offset, at.row, at.line
    while text := file.readline(MAX_ROW + 1):
        line += 1
        offset += len(text)
        fault = ""
        if len(text) > MAX_ROW and text[-1] != 10:  # a line feed
            offset += _skip_line(file)
            fault = _LONG
        elif text.isspace():
            continue
        number += 1
        yield Row(Place(offset, number, line), line, b"" if fault else text, fault)


def _skip_line(file: BinaryIO) -> int:
    """Read to the end of the line and return how many bytes that were."""
    skipped = 0
    while text := file.readline(MAX_ROW):
        skipped += len(text)
        if text[-1] == 10:
            break
    return skipped


class _TooLong(Exception):  # noqa: N818 - says what it is
    """The row under way has more bytes than a row may."""


class _Lines:
    """The lines of a file for `csv.reader`, which takes as many as a row needs; knows how far the row has come."""

    def __init__(self, file: BinaryIO, offset: int, line: int) -> None:
        self._file = file
        self.offset = offset
        self.line = line
        self.fault = ""
        self.begin()

    def begin(self) -> None:
        """A row begins here."""
        self.began = self.offset
        self.first = self.line + 1
        self.after_first = 0
        self.fault = ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        text = self._file.readline(MAX_ROW + 1)
        if not text:
            raise StopIteration
        size = len(text)
        if size > MAX_ROW and text[-1] != 10:
            size += _skip_line(self._file)
        self.offset += size
        self.line += 1
        self.after_first = self.after_first or self.offset
        if self.offset - self.began > MAX_ROW:
            raise _TooLong
        try:
            return text.decode()
        except UnicodeDecodeError:
            self.fault = _ENCODING
            return text.decode(errors="replace")

    def retreat(self) -> None:
        """Go back behind the first line of the row under way."""
        self.offset, self.line = self.after_first, self.first
        self._file.seek(self.offset)


def _csv(file: BinaryIO, layout: Layout, at: Place) -> Iterator[Row]:
    columns, width = layout.columns, len(layout.columns)
    lines, number = _Lines(file, at.offset, at.line), at.row
    while True:
        try:
            for cells in csv.reader(lines, delimiter=layout.delimiter, strict=True):
                if any(cells):
                    number += 1
                    place = Place(lines.offset, number, lines.line)
                    if lines.fault or len(cells) > width:
                        fault = lines.fault or f"has {len(cells)} cells, and the first line names {width} columns"
                        yield Row(place, lines.first, fault=fault)
                    else:
                        yield Row(place, lines.first, _members(columns, cells))
                lines.begin()
        except (csv.Error, _TooLong) as error:
            fault = _LONG if isinstance(error, _TooLong) else f"is not CSV: {error}"
            first = lines.first
            lines.retreat()
            number += 1
            yield Row(Place(lines.offset, number, lines.line), first, fault=fault)
            lines.begin()
        else:
            return


def _members(columns: tuple[str, ...], cells: list[str]) -> Cells:
    """Return the cells that hold something; one left empty is a member left out."""
    members: Cells = {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    tags = members.get("tags")
    if isinstance(tags, str):
        members["tags"] = tags.split(",")
    return members
