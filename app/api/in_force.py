"""What an operator may change while requests run, taken as one: a request sees the same from its start to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

    from app.api.payload import BodyLimits
    from app.service import LinkRules

__all__ = ["IN_FORCE", "Current", "InForce", "in_force"]

IN_FORCE = "astra.in_force"
"""Key of the scope that holds the `InForce` of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The rules of one moment."""

    rules: LinkRules
    bodies: BodyLimits


class Current:
    """The one reference that a reload swaps."""

    __slots__ = ("value",)

    def __init__(self, value: InForce) -> None:
        self.value = value

    def take(self, value: InForce) -> None:
        """Put `value` in force for the requests that begin from now on."""
        self.value = value

    def __repr__(self) -> str:
        return f"Current({self.value!r})"


def in_force(request: Request) -> InForce:
    """Return what was in force when `request` came."""
    value: InForce = request.scope[IN_FORCE]
    return value
