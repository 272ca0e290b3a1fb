"""No exception leaves as a traceback or an empty reply: known ones have their problem, others are a 500."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.api import problem_of
from astra_core.asgi import Layer, Problem

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Exchange, Problems

__all__ = ["LastResort"]

logger = logging.getLogger(__name__)

_BUG = Problem(status=500, detail="The server made a mistake; it is logged under this request id.")


class LastResort(Layer):
    """Turns what the inside raised into problem+json, and logs what nobody expected."""

    def __init__(self, app: ASGIApp, *, problems: Problems) -> None:
        super().__init__(app)
        self._problems = problems

    def rescue(self, x: Exchange, error: BaseException) -> ASGIApp | None:
        """Answer for `error`; a cancellation belongs to whoever cancelled."""
        if isinstance(error, asyncio.CancelledError):
            return None
        problem = problem_of(error)
        if problem is not None:
            return self._problems.respond(problem, x.scope)
        request_id = self._problems.id_of(x.scope)
        logger.error("%s %r failed, request %s", x.scope["method"], x.scope["path"], request_id, exc_info=error)
        return self._problems.respond(_BUG, x.scope)
