from __future__ import annotations

from app.service import SlicePace


def settled(pace: SlicePace, *, row: float, fixed: float = 0.0, slices: int = 60) -> int:
    """Rows of a slice once the pace has seen what a row takes."""
    for _ in range(slices):
        pace.observe(pace.rows, fixed + pace.rows * row)
    return pace.rows


def test_a_slice_holds_the_lock_for_the_time_set() -> None:
    """As many rows as that takes, never more than the most."""
    pace = SlicePace(most=1_000, hold=0.008, pause=0.0)
    assert 380 <= settled(pace, row=20e-6) <= 400
    assert settled(pace, row=1e-6) == 1_000


def test_a_harder_slice_counts_at_once_and_an_easier_one_slowly() -> None:
    """One slow commit makes the next slice small; the way back takes some."""
    pace = SlicePace(most=1_000, hold=0.008, pause=0.0)
    settled(pace, row=10e-6)
    pace.observe(pace.rows, pace.rows * 40e-6)
    assert pace.rows == 200
    pace.observe(pace.rows, pace.rows * 10e-6)
    assert pace.rows <= 250
    assert settled(pace, row=10e-6) >= 780


def test_a_slow_disk_does_not_starve_the_import() -> None:
    """Where the sync alone takes longer than the time set, fewer rows would gain nothing: some are always taken."""
    pace = SlicePace(most=1_000, hold=0.008, pause=0.0)
    assert settled(pace, row=10e-6, fixed=0.05) == 128
    assert settled(SlicePace(most=10, hold=0.008, pause=0.0), row=1e-3) == 10
