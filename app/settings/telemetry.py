"""What the service tells of itself: metrics, traces and log lines."""

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from astra_core.config import Duration, Problem, Secret, Section, hot, restart

__all__ = ["Log", "Metrics", "Tracing"]


class Metrics(Section, frozen=True, kw_only=True):
    """The figures at `/metrics`."""

    folder: Annotated[
        str,
        restart(
            "Folder of the workers' figures, relative to the working directory or absolute; shared by the workers. "
            "Services may share it too: each store has a folder in it.",
            min_length=1,
        ),
    ] = "./data/metrics"
    publish_interval: Annotated[
        Duration, hot("How often a worker shows the others what it keeps elsewhere.", ge=0.1, le=60)
    ] = 1.0
    max_series: Annotated[
        int, restart("Most label sets of one metric; further ones are counted as `other`.", ge=10, le=100_000)
    ] = 1_000


class Tracing(Section, frozen=True, kw_only=True):
    """Spans, and where they go; docs/tracing.md explains it."""

    endpoint: Annotated[
        str | None,
        restart(
            "OTLP collector: `http://host:4318` (HTTP) or `grpc://host:4317`, `https` and `grpcs` with TLS; "
            "null: no tracing."
        ),
    ] = None
    headers: Annotated[
        Secret | None,
        restart("Headers for the collector, `name=value,name=value`."),
    ] = None
    ca_file: Annotated[
        str | None,
        restart("File of certificates (PEM) that the collector's is checked against; null: the public authorities'."),
    ] = None
    ratio: Annotated[float, hot("Share of requests that are traced where the caller has not decided.", ge=0, le=1)] = (
        0.01
    )
    per_second: Annotated[float, hot("Most traced requests a second, of each worker.", ge=0, le=100_000)] = 100.0
    queue: Annotated[int, restart("Most spans that wait for the collector.", ge=16, le=1_000_000)] = 4_096
    timeout: Annotated[Duration, restart("Longest time that one export may take.", ge=0.1, le=60)] = 5.0
    service: Annotated[str, restart("`service.name` of the spans.", min_length=1)] = "astra"

    def check(self, environment: str) -> Iterable[Problem]:
        """An endpoint is a URL without a password, which would show in errors; secrets go into `headers`."""
        if self.endpoint is not None and (fault := _endpoint_problem(self.endpoint)):
            yield Problem(key="endpoint", text=fault)
        if self.headers is not None and not _HEADERS.fullmatch(self.headers.reveal()):
            yield Problem(key="headers", text="must be name=value, several separated by commas")


class Log(Section, frozen=True, kw_only=True):
    """What is logged, and how; docs/logging.md explains it."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        hot("Least level that is logged; `debug` is for Astra's own lines, libraries are heard from `info` on."),
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "pretty"],
        hot("`json` lines, `pretty` ones for people, or `auto`: pretty on a terminal."),
    ] = "auto"
    access_ratio: Annotated[
        float, hot("Share of requests that leave a line; failed and slow ones always do.", ge=0, le=1)
    ] = 0.01
    slow: Annotated[Duration, hot("A request that takes as long, or longer, is slow.", ge=0.001, le=600)] = 1.0
    per_second: Annotated[
        float, hot("Most lines a second for failed and slow requests, of each worker.", ge=1, le=100_000)
    ] = 100.0
    queue: Annotated[
        int, restart("Most lines that wait to be written; more are dropped, and counted.", ge=100, le=1_000_000)
    ] = 10_000


_HEADERS: Final = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+=[!-+\--~]+(,[!#-'*+.^_`|~0-9A-Za-z-]+=[!-+\--~]+)*")


def _endpoint_problem(url: str) -> str:
    """Return what is wrong with an endpoint, without the URL in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL; write it like http://localhost:4318 or grpc://localhost:4317"
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not host:
        return "must be http://, https://, grpc:// or grpcs:// with a host, such as http://localhost:4318"
    if parts.username is not None or parts.query or parts.fragment:
        return "must have no credentials, query or fragment; secrets go into tracing.headers"
    return ""
