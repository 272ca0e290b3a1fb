"""Whose word is taken: the proxies that an operator named."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astra_core.asgi import Scope

__all__ = ["TrustedProxies"]

_REMEMBERED = 1_000


class TrustedProxies:
    """Whether a request comes straight from one of `proxies`, addresses or networks; by the connection's own address.

    A server that puts the forwarded address in its place (uvicorn's `--proxy-headers`) hides the proxy from it.
    """

    def __init__(self, proxies: Iterable[str]) -> None:
        self._networks = tuple(ip_network(proxy) for proxy in proxies)
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __call__(self, scope: Scope) -> bool:
        """Look at who sent the request of `scope`."""
        client = scope.get("client")
        if client is None:
            return False
        host: str = client[0]
        trusted = self._known.get(host)
        if trusted is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            trusted = self._known[host] = self._is_inside(host)
        return trusted

    def _is_inside(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:  # a socket in the file system
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def __repr__(self) -> str:
        return f"TrustedProxies({', '.join(map(str, self._networks))})"
