"""What stands in a row of the matrix: an application, its dependency, and a fault proxy between the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from astra_core.resilience import CircuitBreaker
    from astra_core.testing import FaultProxy

__all__ = ["REFUSED", "Ask", "Subject"]

REFUSED = frozenset({503, 504})
"""What an application answers for a dependency that does not answer."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request, the status that it has when all is well, and those that it may have when the dependency is not."""

    what: str
    path: str
    well: int
    ill: frozenset[int] = REFUSED
    method: str = "GET"
    body: Any = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`asks` are the requests of one round, no two rounds the same where an answer would be remembered."""

    http: httpx.AsyncClient = field(repr=False)
    proxy: FaultProxy
    breakers: tuple[CircuitBreaker, ...]
    asks: Callable[[], Sequence[Ask]]
