"""The request headers of a load generator and of a browser; how many there are costs more than what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astra_core.asgi import Header

__all__ = ["FEW", "HOST", "MANY", "request_bytes"]

HOST = b"127.0.0.1:8080"

FEW: tuple[Header, ...] = (
    (b"host", HOST),
    (b"user-agent", b"wrk/4.2.0"),
    (b"accept", b"*/*"),
)
"""Three headers, as a load generator sends."""

MANY: tuple[Header, ...] = (
    (b"host", HOST),
    (b"connection", b"keep-alive"),
    (b"cache-control", b"max-age=0"),
    (b"sec-ch-ua", b'"Chromium";v="141", "Not?A_Brand";v="8"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (b"upgrade-insecure-requests", b"1"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36",
    ),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"sec-fetch-site", b"none"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-dest", b"document"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-GB,en;q=0.9,de;q=0.8"),
)
"""Fourteen headers, as a browser sends when it follows a link."""


def request_bytes(path: str, headers: tuple[Header, ...]) -> bytes:
    """Return a GET as it stands on the wire."""
    lines = [b"GET " + path.encode("ascii") + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    return b"\r\n".join((*lines, b"", b""))
