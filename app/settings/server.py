"""The listener and the processes beneath it, as settings."""

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from astra_core.config import Duration, Problem, Secret, Section, Size, hot, restart

__all__ = ["Server"]


class Server(Section, frozen=True, kw_only=True):
    """The listener, the processes beneath it, and what one request may take."""

    host: Annotated[str, restart("Address to listen on; `0.0.0.0` is every interface.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, restart("TCP port; 0 lets the system choose a free one.", ge=0, le=65_535)] = 8080
    protocol: Annotated[
        Literal["http1", "http2"],
        restart("`http1` is served by uvicorn, `http2` by hypercorn, which speaks HTTP/1.1 too."),
    ] = "http1"
    workers: Annotated[int, restart("Worker processes; one a core is the most that helps.", ge=1, le=256)] = 1
    backlog: Annotated[
        int, restart("Connections that may wait to be accepted; the kernel's somaxconn bounds it.", ge=1, le=65_535)
    ] = 2_048
    keep_alive: Annotated[
        Duration,
        restart(
            "An HTTP/1.1 connection without a request is closed after this; longer than the load balancer's own, or it "
            "meets closed ones. For `http2` hypercorn.toml says it.",
            ge=1,
            le=3_600,
        ),
    ] = 5.0
    start_timeout: Annotated[
        Duration, restart("A worker that does not answer within this time of its start has failed.", ge=1, le=3_600)
    ] = 60.0
    drain_timeout: Annotated[
        Duration,
        restart(
            "A request that is unfinished this long after SIGTERM is cancelled; the process is gone soon after.", le=300
        ),
    ] = 4.0
    grace_period: Annotated[
        Duration,
        restart(
            "What the platform leaves between SIGTERM and SIGKILL (Kubernetes: terminationGracePeriodSeconds, Docker: "
            "--stop-timeout); drain_timeout is at least a second shorter, so that all is closed in order.",
            ge=1,
            le=3_600,
        ),
    ] = 10.0
    gc_threshold: Annotated[
        int,
        restart(
            "New objects between two young garbage collections; Python's own 700 costs a write a tenth of its time.",
            ge=100,
            le=1_000_000,
        ),
    ] = 10_000
    max_body: Annotated[Size, hot("Largest body of a request; more is refused with 413.", ge=1024, le=2**30)] = 1024**2
    max_batch_body: Annotated[Size, hot("Largest body of a batch of links.", ge=1024, le=2**30)] = 16 * 1024**2
    body_timeout: Annotated[
        Duration,
        hot(
            "A body that has not arrived whole within this time is refused with 408; below http.deadline.",
            ge=0.1,
            le=600,
        ),
    ] = 3.0
    admin_token: Annotated[
        Secret | None,
        restart("Opens `/metrics` and the details of `/readyz`, as `Authorization: Bearer TOKEN`; null: open to all."),
    ] = None

    def check(self, environment: str) -> Iterable[Problem]:
        """A batch holds many links, so its limit is never the smaller one; production shows strangers no figures."""
        if self.admin_token is None and environment == "production":
            yield Problem(
                key="admin_token",
                text="production needs it; set ASTRA_SERVER__ADMIN_TOKEN to a long random text (openssl rand -hex 32)",
            )
        elif self.admin_token is not None and not _TOKEN.fullmatch(self.admin_token.reveal()):
            yield Problem(key="admin_token", text="must be 16 or more of A-Z a-z 0-9 - . _ ~ + / and = at its end")
        if self.max_batch_body < self.max_body:
            yield Problem(
                key="max_batch_body", text="must not be below server.max_body; raise it", others=("max_body",)
            )
        if self.drain_timeout + _CLOSING > self.grace_period:
            text = "must be a second below server.grace_period, which ends with SIGKILL; lower it, or raise that one"
            yield Problem(key="drain_timeout", text=text, others=("grace_period",))


_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")
"""A bearer token (RFC 6750, section 2.1), long enough not to be guessed."""
_CLOSING: Final = 1.0
"""Seconds that the end of a process may take after the drain: workers have 0.8, their parent kills them after 0.9."""
