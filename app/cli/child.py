"""The program of one worker: one server, one process, on a socket that the parent opened.

It is run by its path, not by `-m`, so that it finds the same `app` as its parent and never one in the working folder.
`uvicorn --fd` is not used: it takes every descriptor for a Unix socket, so Nagle's delay stays on. The servers'
own parents are not used either: see `supervisor`.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import math
import socket
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.cli.hypercorn_mended import mend
from app.cli.server_lines import ServerLines
from app.main.process import report_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

HYPERCORN = {
    "keep_alive_max_requests": 100_000,
    "keep_alive_timeout": 5,
    "read_timeout": 60,
    "shutdown_timeout": 10,
    "h2_max_concurrent_streams": 100,
    "h2_max_header_list_size": 65_536,
    "max_app_queue_size": 10,
}
"""What holds where hypercorn's file is not there, as in an installed package, or is silent: `settings/hypercorn.toml`,
with the reasons. Hypercorn's own defaults close a connection at its 1,001st request, and keep an idle one for ever."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parser().parse_args(arguments)
    try:
        run = {"http1": http1, "http2": http2}[options.protocol]
        run(load(options.app), socket.socket(fileno=options.listen), options)
    except Exception as error:  # whatever it is, the parent prints one line
        if not report_failure(f"{type(error).__name__}: {error}"):
            raise
        return 1
    return 0


def http1(application: Any, listener: socket.socket, options: argparse.Namespace) -> None:
    """Serve HTTP/1.1 with uvicorn on uvloop and httptools."""
    import uvicorn  # a worker loads one server only

    config = uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=options.backlog,
        timeout_keep_alive=options.keep_alive,
        timeout_graceful_shutdown=math.ceil(options.drain),
    )
    logging.getLogger("uvicorn.error").addFilter(ServerLines())
    uvicorn.Server(config).run(sockets=[listener])


def http2(application: Any, listener: socket.socket, options: argparse.Namespace) -> None:
    """Serve HTTP/2 (and HTTP/1.1) with hypercorn on uvloop; TLS if its file names a certificate."""
    import asyncio

    import uvloop
    from hypercorn.asyncio import serve

    mend()
    config = hypercorn_config(options.config)
    config.bind = [f"fd://{listener.detach()}"]
    config.insecure_bind = []
    config.quic_bind = []
    config.workers = 1
    config.backlog = options.backlog
    config.accesslog = None
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.graceful_timeout = options.drain + 0.3  # after our own drain, which answers before it cancels
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(_without_handshake_failures)
        runner.run(serve(application, config, mode="asgi"))


def hypercorn_config(file: str | None) -> Any:
    """Hypercorn's configuration: ours, and over it what `file` says."""
    from hypercorn.config import Config

    given = tomllib.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    return Config.from_mapping({**HYPERCORN, **given})


def load(path: str) -> Any:
    """The object named `module:attribute`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _without_handshake_failures(loop: Any, context: dict[str, Any]) -> None:
    import ssl

    if not isinstance(context.get("exception"), ssl.SSLError):
        loop.default_exception_handler(context)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=("http1", "http2"), required=True)
    parser.add_argument("--listen", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--drain", type=float, required=True, help="seconds that requests may take after SIGTERM")
    parser.add_argument("--backlog", type=int, default=2_048, help="connections that may wait to be accepted")
    parser.add_argument("--keep-alive", type=float, default=5.0, help="seconds of an idle HTTP/1.1 connection")
    parser.add_argument("--config", help="hypercorn's TOML file")
    parser.add_argument("--app", default="app:asgi")
    return parser


if __name__ == "__main__":
    sys.exit(main())
