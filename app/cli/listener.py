"""The listening socket: the parent opens it, so its failure is one clear line and its port outlives every worker."""

from __future__ import annotations

import os
import socket

__all__ = ["ListenError", "address", "listen"]


class ListenError(Exception):
    """The address cannot be listened on; the text is one line for people."""


def listen(host: str, port: int, *, backlog: int = 2_048) -> socket.socket:
    """A socket that listens on the first address of `host`, which children may inherit; raises `ListenError`.

    `backlog` connections wait at most to be accepted.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(where[:2], family=family, backlog=backlog)
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {address(host, port)}: unknown host") from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ListenError(f"cannot listen on {address(host, port)}: {reason}") from error
    listener.set_inheritable(True)
    return listener


def address(host: str, port: int) -> str:
    """`host:port` as a URL writes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
