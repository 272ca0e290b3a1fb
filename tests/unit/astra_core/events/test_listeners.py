"""Listeners are told, and never felt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.events import GroupCommitted, Listeners, hears

if TYPE_CHECKING:
    import pytest


def test_every_listener_hears_an_event_even_after_one_failed(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged with its event; the producer and the other listeners do not notice."""
    heard: list[object] = []

    def broken(event: object) -> None:
        raise RuntimeError("broken")

    event = GroupCommitted(size=1, seconds=0.1, waited=0.0)
    Listeners(broken, heard.append)(event)
    assert heard == [event]
    assert "GroupCommitted" in caplog.text
    assert "broken" in caplog.text


def test_no_listeners_are_false() -> None:
    """A producer asks before it builds an event."""
    assert not Listeners()
    assert Listeners(print)


def test_a_listener_hears_of_the_kinds_it_names_alone() -> None:
    """By `hears`, or by an attribute of its own; one that names none hears of all."""
    heard: list[tuple[str, object]] = []

    @hears(int, str)
    def some(event: object) -> None:
        heard.append(("some", event))

    class One:
        kinds = frozenset({str})

        def __call__(self, event: object, /) -> None:
            heard.append(("one", event))

    listeners = Listeners(some, One(), lambda event: heard.append(("all", event)))
    for event in (1, "a", 2.0, True, 2):
        listeners(event)
    assert heard == [
        *(("some", 1), ("all", 1)),
        *(("some", "a"), ("one", "a"), ("all", "a")),
        *(("all", 2.0), ("all", True)),
        *(("some", 2), ("all", 2)),
    ]
