"""Rows of files: what is one, where it ends, and that reading may begin behind any of them."""

from __future__ import annotations

import csv
import io
import json
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.models import NewLink
from app.imports import COLUMNS, MAX_ROW, Format, InvalidImport, Place, Row, layout_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(data: bytes, kind: Format = Format.CSV, at: Place | None = None) -> list[Row]:
    """All rows of a file, or those behind a place."""
    layout = layout_of(data[: MAX_ROW + 3], kind)
    return [row for row in rows_of(io.BytesIO(data), layout, at or layout.start) if row is not None]


class TooLong(Exception):  # noqa: N818
    """The row has more bytes than a row may."""


def records(data: bytes) -> list[tuple[int, int, list[str] | None]]:
    """Each record of a CSV, read the simple way: its first line, where it ends, and its cells or None.

    A line is read again for each record that its quote may belong to.
    """
    lines = [*io.BytesIO(data)]
    begins = [0, *accumulate(map(len, lines))]

    def from_line(first: int) -> Iterator[str]:
        for line in range(first, len(lines)):
            if begins[line + 1] - begins[first] > MAX_ROW:
                raise TooLong
            yield lines[line].decode(errors="replace")

    found: list[tuple[int, int, list[str] | None]] = []
    line = 1  # behind the columns
    while line < len(lines):
        reader = csv.reader(from_line(line), strict=True)
        try:
            cells: list[str] | None = next(reader)
        except (csv.Error, TooLong):
            cells = None
        end = line + (1 if cells is None else reader.line_num)
        found.append((line + 1, begins[end], cells))
        line = end
    return found


class CountedFile(io.BytesIO):
    """Counts the bytes that were read."""

    count = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line, or a part."""
        text = super().readline(size)
        self.count += len(text)
        return text

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a part."""
        text = super().read(size)
        self.count += len(text)
        return text


def test_the_columns_are_the_members_of_a_new_link() -> None:
    """Whatever a request may say, a file may say too."""
    assert set(COLUMNS) == set(NewLink.__struct_fields__)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_first_line_tells_the_delimiter(delimiter: str) -> None:
    """Comma, semicolon or tab, by what makes known columns of the line; a single column needs none."""
    layout = layout_of(delimiter.join(("URL", " code ", "title")).encode() + b"\n", Format.CSV)
    assert layout.delimiter == delimiter
    assert layout.columns == ("url", "code", "title")
    assert layout_of(b"url", Format.CSV).columns == ("url",)


def test_columns_behind_the_last_are_none_as_long_as_they_are_empty() -> None:
    """As spreadsheets write them; a cell there that holds something belongs to nobody, and its row is at fault."""
    first, second, third = rows(b"url,title,,\nhttps://a.example,A,,\nhttps://b.example,,,\nhttps://c.example,C,,x\n")
    assert (first.members, second.members) == ({"url": "https://a.example", "title": "A"}, {"url": "https://b.example"})
    assert "4 cells" in third.fault
    with pytest.raises(InvalidImport):
        layout_of(b"url,,title\n", Format.CSV)


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    """Neither of the first column's name nor of the first object."""
    (row,) = rows(b"\xef\xbb\xbfurl\nhttps://a.example\n")
    assert row.members == {"url": "https://a.example"}
    (row,) = rows(b'\xef\xbb\xbf{"url": "x"}', Format.NDJSON)
    assert json.loads(row.members) == {"url": "x"}  # type: ignore[arg-type]


def test_a_row_at_fault_spoils_no_other() -> None:
    """A quote never closed, a row too long or not UTF-8: each is one row at fault, and the next lines are read."""
    long = b"https://a.example/" + b"x" * MAX_ROW
    lines = [
        b"https://a.example/1",
        b'"https://a.example/2 without an end',
        b"https://a.example/3",
        long,
        b"https://a.example/\xff",
        b'"https://a.example/6" and more',
        b"https://a.example/7",
    ]
    filler = [b"https://a.example/filler"] * 6_000
    found = rows(b"url\n" + b"\n".join([*lines, *filler]) + b"\n")
    assert len(found) == len(lines) + len(filler)
    assert [row.line for row in found] == list(range(2, len(found) + 2))
    assert [row.place.row for row in found] == list(range(1, len(found) + 1))
    assert [bool(row.fault) for row in found[:7]] == [False, True, False, True, True, True, False]
    assert not any(row.fault for row in found[7:])
    assert "UTF-8" in found[4].fault


def test_a_line_too_long_is_one_row_of_ndjson_at_fault() -> None:
    """It is skipped to its end, however long; memory holds none of the rest."""
    data = b'{"url": "' + b"x" * 5 * MAX_ROW + b'"}\n{"url": "y"}\n'
    first, second = rows(data, Format.NDJSON)
    assert (first.fault != "", second.fault) == (True, "")
    assert second.place == Place(len(data), 2, 2)


@given(
    st.lists(st.tuples(*[st.text(st.sampled_from('ab,;"\n \t{}é'), max_size=6)] * 3), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_csv_that_is_well_formed_is_read_as_written(written: list[tuple[str, str, str]], end: str) -> None:
    """Python's own writer is the other side; rows of empty cells are none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(("url", "code", "title"))
    writer.writerows(written)
    found = rows(text.getvalue().encode())
    expected = [dict(zip(("url", "code", "title"), row, strict=True)) for row in written if any(row)]
    assert [row.members for row in found] == [{name: cell for name, cell in row.items() if cell} for row in expected]


@given(st.binary(max_size=300).map(lambda data: data.replace(b"q", b'"').replace(b"n", b"\n").replace(b"c", b",")))
def test_reading_on_behind_any_row_gives_the_rest(data: bytes) -> None:
    """Whatever the bytes: rows depend on the file alone, so an import goes on where it was."""
    for kind, head in ((Format.CSV, b"url,code\n"), (Format.NDJSON, b"{}\n")):
        whole = rows(head + data, kind)
        offsets = [row.place.offset for row in whole]
        assert offsets == sorted(set(offsets))
        for place, row in enumerate(whole):
            assert rows(head + data, kind, row.place) == whole[place + 1 :]


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from(
            [
                b'"',
                b'"',
                b'""',
                b",",
                b",",
                b"\n",
                b"\n",
                b"\r\n",
                b"\r",
                b"a",
                b"\xff",
                b" ",
                b"\0",
                b'a",",b\n',
                b"x" * 43_000,
            ]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_every_csv_is_read_as_the_simple_way_reads_it(body: bytes) -> None:
    """However quotes, faults and long rows lie; and what lies behind any row is read alike from there on."""
    data = b"url,title\n" + body
    found = rows(data)
    simple = [(first, end, cells) for first, end, cells in records(data) if cells is None or any(cells)]
    assert [(row.line, row.place.offset) for row in found] == [(first, end) for first, end, _ in simple]
    for row, (_, _, cells) in zip(found, simple, strict=True):
        if cells is None or any(cells[2:]) or any("\ufffd" in cell for cell in cells):
            assert row.fault
        else:
            assert row.members == {name: cell for name, cell in zip(("url", "title"), cells, strict=False) if cell}
    for place, row in enumerate(found):
        assert rows(data, at=row.place) == found[place + 1 :]


@pytest.mark.parametrize(
    "body",
    [
        b'"open\n' + b'a",",b\n' * 40_000,
        b'"\n' * 100_001,
        b'"open\n' + b"a\n" * 50_000 + b'x" y\n',
        (b'"\n' * 20_000 + b'","' + b"x" * 120_000 + b"\n") * 3,
        b'"\n' * 20_000 + b"x" * 3_000_000,
    ],
)
def test_no_file_is_read_over_and_over(body: bytes) -> None:
    """However many rows begin within a quote that none ends: a line is read as a first, a later and a whole one."""
    data = b"url,title\n" + body
    file = CountedFile(data)
    layout = layout_of(data[: MAX_ROW + 3], Format.CSV)
    assert sum(row is not None for row in rows_of(file, layout, layout.start)) > 2
    assert file.count <= 3 * len(data)


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize(
    "body",
    [b"\n" * 400_000, b" " * 400_000 + b"\n", b"x" * 4_000_000, b'"' + b"\n" * 100_000 + b'"\n', b'"\n' * 100_001],
)
def test_no_step_reads_more_than_a_row_may_have(kind: Format, body: bytes) -> None:
    """Blank lines, long ones and open quotes too: whoever reads can give way in between."""
    data = b"url\nx\n" + body
    file = CountedFile(data)
    layout = layout_of(data[: MAX_ROW + 3], kind)
    before = 0
    for _ in rows_of(file, layout, layout.start):
        assert file.count - before <= 2 * (MAX_ROW + 1)
        before = file.count


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"name\nx", b"url;kode\n", b"url,url\n", b"code\n"])
def test_a_file_that_names_no_columns_is_refused(data: bytes) -> None:
    """Before any row of it is looked at."""
    with pytest.raises(InvalidImport) as caught:
        layout_of(data, Format.CSV)
    assert caught.value.detail.endswith(".")
