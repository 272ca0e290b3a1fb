"""Rows of files: what is one, where it ends, and that reading may begin behind any of them."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.models import NewLink
from app.imports import COLUMNS, MAX_ROW, Format, InvalidImport, Place, Row, layout_of, rows_of


def rows(data: bytes, kind: Format = Format.CSV, at: Place | None = None) -> list[Row]:
    """All rows of a file, or those behind a place."""
    layout = layout_of(data[: MAX_ROW + 3], kind)
    return list(rows_of(io.BytesIO(data), layout, at or layout.start))


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


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"name\nx", b"url;kode\n", b"url,url\n", b"code\n"])
def test_a_file_that_names_no_columns_is_refused(data: bytes) -> None:
    """Before any row of it is looked at."""
    with pytest.raises(InvalidImport) as caught:
        layout_of(data, Format.CSV)
    assert caught.value.detail.endswith(".")
