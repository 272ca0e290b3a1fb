"""From a link to its JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.api.models import LinkView
from app.api.problems import refuse
from app.api.times import from_microseconds
from app.domain import readable_host

if TYPE_CHECKING:
    from starlette.requests import Request

    from app.service import Snapshot
    from astra_core.clock import Clock

__all__ = ["LinkViews", "ShortUrls"]


_HOST = re.compile(r"(.+?)(?::([0-9]{1,5}))?")
_LAST_PORT = 65_535
_REMEMBERED = 100


class ShortUrls:
    """Where short URLs begin: at `base_url`, or at the request's own host when that is in `allowed_hosts`."""

    def __init__(self, *, base_url: str | None, allowed_hosts: tuple[str, ...]) -> None:
        self._base = None if base_url is None else base_url.rstrip("/")
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._known: dict[bytes, str] = {}

    def base(self, request: Request, host: str = "") -> str:
        """Return what short URLs of this request begin with; `host` is the request's, if that is known already.

        Raises `RequestRefused` for a foreign Host.
        """
        return self._base or f"{request.scope['scheme']}://{host or self.host(request)}"

    def host(self, request: Request) -> str:
        """Return the request's host and port. A forged Host header must not end in a link that we hand out."""
        hosts = [value for name, value in request.scope["headers"] if name == b"host"]
        if len(hosts) == 1 and (known := self._known.get(hosts[0])):
            return known
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        parts = _HOST.fullmatch(host)
        if parts is None or parts[1] not in self._allowed or int(parts[2] or 0) > _LAST_PORT:
            if self._base is not None:
                return ""
            raise refuse(400, "Host: must be one of links.allowed_hosts, as long as links.base_url is not set.")
        if len(self._known) < _REMEMBERED:
            self._known[hosts[0]] = host
        return host


class LinkViews:
    """Renders links; their state is the one they have now."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    def view(self, snapshot: Snapshot, *, base: str) -> LinkView:
        """Return the JSON form of a link."""
        link = snapshot.link
        created = from_microseconds(link.created_at)
        return LinkView(
            code=link.code,
            short_url=f"{base}/{link.code}",
            url=link.url,
            display_url=_display(link.url),
            state=snapshot.state(int(self._clock.time() * 1_000_000)),
            version=snapshot.version,
            created_at=created,
            updated_at=created if link.updated_at == link.created_at else from_microseconds(link.updated_at),
            starts_at=None if link.starts_at is None else from_microseconds(link.starts_at),
            expires_at=None if link.expires_at is None else from_microseconds(link.expires_at),
            max_visits=link.max_visits,
            redirect_status=link.redirect_status,
            forward_query=link.forward_query,
            tags=link.tags,
            title=link.title,
            private=link.private,
            visits=snapshot.visits,
        )


def _display(href: str) -> str:
    """Return the URL with an international host in Unicode."""
    if "xn--" not in href:
        return href
    scheme, _, rest = href.partition("://")
    authority, slash, tail = rest.partition("/")
    user, at, _ = authority.rpartition("@")
    return f"{scheme}://{user}{at}{readable_host(href)}{slash}{tail}"
