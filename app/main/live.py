"""What follows the settings while the process runs: each object keeps its state, and is handed its new part of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings

__all__ = ["Live"]

P = TypeVar("P")


class Tunable(Protocol[P]):
    """An object whose parameters may be replaced while it runs."""

    parameters: P


class Live:
    """The settings in force, and who follows them.

    A part is what one object needs of the settings, made whole and checked before anything is taken. Objects whose part
    is equal to the one in force are left alone.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._followers: list[tuple[Callable[[Settings], Any], Callable[[Any], object]]] = []

    def follow(self, part: Callable[[Settings], P], take: Callable[[P], object]) -> P:
        """Have `take` called with each new `part` of the settings; returns the part in force. `take` must not raise."""
        self._followers.append((part, take))
        return part(self.settings)

    def attribute(self, owner: object, name: str, part: Callable[[Settings], object]) -> None:
        """Have an attribute of `owner` follow a `part`; it was made with the part in force."""
        self.follow(part, lambda value: setattr(owner, name, value))

    def parameters(self, owner: Tunable[P], part: Callable[[Settings], P]) -> None:
        """Have the parameters of `owner` follow a `part`; it was made with the part in force."""
        self.attribute(owner, "parameters", part)

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Make every part of `settings`; returns the function that has them all taken, in one go.

        Raises `ValueError` when a part cannot be made; nothing has changed then.
        """
        changed = self.changed(settings)

        def swap() -> None:
            self.settings = settings
            for take, new in changed:
                take(new)

        return swap

    def changed(self, settings: Settings) -> list[tuple[Callable[[Any], object], Any]]:
        """Return who would take what, of `settings`, that differs from what is in force."""
        return [(take, new) for part, take in self._followers if (new := part(settings)) != part(self.settings)]

    def __repr__(self) -> str:
        return f"<Live followers={len(self._followers)}>"
