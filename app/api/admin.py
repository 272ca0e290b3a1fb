"""What only operators may see: a bearer token stands before it (RFC 6750)."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from app.api.problems import refuse

if TYPE_CHECKING:
    from starlette.requests import Request

    from astra_core.config import Secret

__all__ = ["AdminGate"]


class AdminGate:
    """Knows an operator by the token; without one everybody is let in."""

    def __init__(self, token: Secret | None) -> None:
        self._token = None if token is None else token.reveal().encode()

    def lets_in(self, request: Request) -> bool:
        """Whether the request may see it. The comparison takes the same time however much of a token is right."""
        if self._token is None:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip().encode("latin-1", "replace")
        return hmac.compare_digest(given, self._token) and scheme.lower() == "bearer"

    def check(self, request: Request) -> None:
        """Refuse a stranger with 401."""
        if not self.lets_in(request):
            raise refuse(
                401,
                "This is for operators: send Authorization: Bearer with the token in server.admin_token.",
                header=("www-authenticate", 'Bearer realm="astra"'),
            )

    def __repr__(self) -> str:
        return f"<AdminGate {'open' if self._token is None else 'closed'}>"
