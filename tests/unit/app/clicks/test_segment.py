"""One journal file: what was appended is read, and what was torn is not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clicks.segment import HEADER_SIZE, TRACES, Segment, sweep, traced
from tests.unit.app.clicks.doubles import no_room

NAME = bytes(range(16))
FRAME = 2 + 4 + 8  # bytes beside the code

codes = st.text("abcXYZ019_-", min_size=3, max_size=64)


def make(folder: Path, *, size: int = 4096, name: bytes = NAME) -> Segment:
    """Return a new segment."""
    return Segment.create(folder, size=size, name=name, now=1_700_000_000.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(codes, st.floats(0, 4e9)), max_size=60), st.integers(1, 7))
def test_what_was_appended_is_read(clicks: list[tuple[str, float]], limit: int) -> None:
    """Batches of any limit, one after the other, hold every click once; the last position is the segment's end."""
    with tempfile.TemporaryDirectory() as folder:
        segment = make(Path(folder), size=65_536)
        assert all(segment.append(at, code.encode()) for code, at in clicks)
        visits: dict[str, int] = {}
        position, events = HEADER_SIZE, 0
        while (batch := segment.read(position, limit=limit)).events:
            assert batch.events <= limit
            assert sum(batch.visits.values()) == batch.events
            for code, count in batch.visits.items():
                visits[code] = visits.get(code, 0) + count
            position, events = batch.position, events + batch.events
        assert events == len(clicks)
        assert visits == {code: sum(code == other for other, _ in clicks) for code, _ in clicks}
        assert position == segment.end
        segment.close()


def test_the_trace_of_a_click_comes_back_beside_its_code(tmp_path: Path) -> None:
    """A traced click counts for its code as any other does; of more traces than a batch tells, the first are told."""
    segment = make(tmp_path, size=65_536)
    traces = [number.to_bytes(24) for number in range(TRACES + 10)]
    segment.append(1.0, b"abc")
    for trace in traces:
        segment.append(2.0, traced(b"abc", trace))
    batch = segment.read(HEADER_SIZE, limit=1_000)
    assert batch.visits == {"abc": 1 + len(traces)}
    assert batch.traces == tuple(traces[:TRACES])
    assert batch.events == 1 + len(traces)
    segment.close()


def test_a_click_says_when_it_was_stored(tmp_path: Path) -> None:
    """By the number of the event before it; None at the end, also of a segment whose end is not known yet."""
    segment = make(tmp_path)
    segment.append(10.0, b"first")
    after_first = segment.end
    segment.append(20.0, b"second")
    assert segment.time_at(HEADER_SIZE) == 10.0
    assert segment.time_at(after_first) == 20.0
    assert segment.time_at(segment.end) is None
    end = segment.end
    segment.close()
    adopted = Segment.adopt(segment.path)
    assert adopted is not None
    assert adopted.time_at(after_first) == 20.0
    assert adopted.time_at(end) is None
    assert adopted.time_at(adopted.end) is None
    adopted.close()


def test_a_reader_stops_at_a_torn_frame(tmp_path: Path) -> None:
    """Cut after any of its bytes, or with any of them wrong, the last frame and what follows do not count."""
    segment = make(tmp_path)
    for code in (b"first", b"second", b"third"):
        segment.append(1.0, code)
    segment.close()
    whole = segment.path.read_bytes()
    begin = HEADER_SIZE + FRAME + len(b"first")
    end = begin + FRAME + len(b"second")
    for at in range(begin, end):
        for torn in (
            whole[:at] + bytes(len(whole) - at),  # the store got this far
            whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :],  # one wrong byte, a good frame behind it
        ):
            if torn == whole:
                continue
            segment.path.write_bytes(torn)
            read = _adopted(segment.path)
            assert read == ({"first": 1}, 1, begin), at
    segment.path.write_bytes(whole)
    assert _adopted(segment.path)[0] == {"first": 1, "second": 1, "third": 1}


def test_a_file_cut_short_is_read_up_to_the_cut(tmp_path: Path) -> None:
    """Whatever the file's length, its whole frames count and nothing raises."""
    segment = make(tmp_path)
    segment.append(1.0, b"first")
    segment.append(1.0, b"second")
    segment.close()
    whole = segment.path.read_bytes()
    ends = (HEADER_SIZE + FRAME + 5, HEADER_SIZE + 2 * FRAME + 11)
    for length in range(ends[1] + 1):
        segment.path.write_bytes(whole[:length])
        assert _adopted(segment.path)[1] == sum(end <= length for end in ends), length


def test_frames_of_another_segment_do_not_count(tmp_path: Path) -> None:
    """A frame is bound to the name of its segment, so old blocks of a disk are not read as clicks."""
    one, other = make(tmp_path), make(tmp_path, name=b"another name 16b")
    one.append(1.0, b"first")
    one.close()
    other.close()
    frames = one.path.read_bytes()[HEADER_SIZE:]
    other.path.write_bytes(other.path.read_bytes()[:HEADER_SIZE] + frames)
    assert _adopted(other.path)[1] == 0


def test_a_full_segment_takes_no_more(tmp_path: Path) -> None:
    """A click that does not fit is refused and leaves what is there as it was; a shorter one may still fit."""
    segment = make(tmp_path, size=HEADER_SIZE + 2 * FRAME + 9)
    assert segment.append(1.0, b"abcdef")
    assert not segment.append(1.0, b"abcd")
    assert segment.append(1.0, b"abc")
    assert not segment.append(1.0, b"abc")
    assert segment.end == segment.size
    assert segment.read(HEADER_SIZE, limit=9).visits == {"abcdef": 1, "abc": 1}
    segment.close()


def test_a_segment_is_adopted_once_its_owner_is_gone(tmp_path: Path) -> None:
    """While the lock is held nobody takes it; afterwards the first who asks, with its name and its time."""
    owner = make(tmp_path)
    owner.append(1.0, b"abc")
    assert Segment.adopt(owner.path) is None
    owner.close()
    heir = Segment.adopt(owner.path)
    assert heir is not None
    assert Segment.adopt(owner.path) is None
    assert (heir.name, heir.created) == (NAME.hex(), 1_700_000_000)
    assert heir.read(HEADER_SIZE, limit=9).visits == {"abc": 1}
    heir.remove()
    assert list(tmp_path.iterdir()) == []
    assert Segment.adopt(owner.path) is None


def test_a_segment_removed_while_it_is_being_adopted_is_nobodys(tmp_path: Path) -> None:
    """Between opening and locking its owner may remove it: a file without a name is not taken over."""
    owner = make(tmp_path)
    kept = tmp_path / "kept"
    os.link(owner.path, kept)  # what an open descriptor is to the adopter
    fd = os.open(owner.path, os.O_RDWR)
    owner.remove()
    kept.unlink()
    assert Segment.adopt(Path(f"/proc/self/fd/{fd}")) is None
    os.close(fd)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"ASTRACJ1", b"\0" * 4096, b"GARBAGE!" * 100], ids=["empty", "x", "short", "zeros", "text"]
)
def test_a_file_that_is_no_segment_is_empty_and_removable(tmp_path: Path, content: bytes) -> None:
    """Nothing in it was ever acknowledged, so it is adopted, read as empty and removed."""
    path = tmp_path / "other.seg"
    path.write_bytes(content)
    segment = Segment.adopt(path)
    assert segment is not None
    batch = segment.read(segment.applied, limit=9)
    assert (batch.visits, batch.events, batch.position) == ({}, 0, segment.applied)
    segment.sync()
    segment.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_leaves_nothing_behind(tmp_path: Path) -> None:
    """A segment that could not be made raises `OSError`; neither its file nor its descriptor stays."""
    before = len(os.listdir("/proc/self/fd"))
    with no_room(), pytest.raises(OSError, match="large"):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_is_final_and_may_be_repeated(tmp_path: Path) -> None:
    """A closed segment syncs nothing, closes again without harm, and its descriptors are gone."""
    before = len(os.listdir("/proc/self/fd"))
    segment = make(tmp_path)
    segment.sync()
    segment.close()
    segment.close()
    segment.sync()
    assert len(os.listdir("/proc/self/fd")) == before


def test_segments_that_died_unborn_are_swept(tmp_path: Path) -> None:
    """Only an old one that nobody holds goes: a creator may be at work on a young or a locked one."""
    for name in ("old", "held", "young"):
        (tmp_path / f"{name}.new").write_bytes(b"\0" * 100)
        os.utime(tmp_path / f"{name}.new", (1000.0, 2000.0 if name == "young" else 1000.0))
    live = make(tmp_path)
    held = Segment.adopt(tmp_path / "held.new")
    assert held is not None
    assert sweep(tmp_path, before=1500.0) == 1
    assert sorted(path.suffix + path.stem[:4] for path in tmp_path.iterdir()) == [".newheld", ".newyoun", ".seg0001"]
    held.close()
    assert sweep(tmp_path, before=1500.0) == 1
    live.close()


def _adopted(path: Path) -> tuple[dict[str, int], int, int]:
    segment = Segment.adopt(path)
    assert segment is not None
    batch = segment.read(HEADER_SIZE, limit=100)
    segment.close()
    return batch.visits, batch.events, batch.position
