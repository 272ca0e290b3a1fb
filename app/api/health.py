"""`/healthz` and `/readyz`: whether the process answers, and whether traffic should come to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from app.api.answers import json_answer
from app.api.models import Health, Readiness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from app.api.admin import AdminGate
    from astra_core.asgi import Response

__all__ = ["Dependency", "HealthApi"]


class Dependency(Protocol):
    """Something the service needs: returns its figures, `ok` among them."""

    async def __call__(self) -> Mapping[str, Any]:
        """Look; must end by itself within a second or two."""
        ...


class HealthApi:
    """Reports on the process and on each dependency by name. `drain` makes it unready at once.

    A dependency that is away makes the service degraded, not unready: known links go on redirecting from memory, and
    a load balancer that took every node away would end that too. The `gate` keeps the details from strangers.
    """

    def __init__(self, dependencies: Mapping[str, Dependency], *, gate: AdminGate) -> None:
        self._dependencies = dependencies
        self._gate = gate
        self._draining = False

    def drain(self) -> None:
        """From now on not ready: the process is going."""
        self._draining = True

    async def healthy(self, request: Request) -> Response:
        """`GET /healthz`."""
        return _json(200, Health(status="ok"))

    async def ready(self, request: Request) -> Response:
        """`GET /readyz`."""
        states = {name: dict(await look()) for name, look in self._dependencies.items()}
        ok = all(state["ok"] for state in states.values())
        if not self._gate.lets_in(request):
            states = {}
        if self._draining:
            return _json(503, Readiness(status="draining", dependencies=states))
        return _json(200, Readiness(status="ready" if ok else "degraded", dependencies=states))


def _json(status: int, value: Health | Readiness) -> Response:
    return json_answer(status, msgspec.json.encode(value))
