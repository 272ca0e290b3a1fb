"""A collector of traces that takes everything, in a process of its own: what a traced service exports to under load."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["collecting"]

_HOST = "127.0.0.1"


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the spans, and answer as OTLP over HTTP does for a full success: an empty message."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def collecting() -> Iterator[str]:
    """Run a collector; gives its endpoint."""
    command = [sys.executable, "-m", "loadtests.collector"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield f"http://{_HOST}:{int(process.stdout.readline())}"
        finally:
            process.kill()


def main() -> None:
    """Serve until killed; the first line printed is the port."""
    with ThreadingHTTPServer((_HOST, 0), _Taker) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
