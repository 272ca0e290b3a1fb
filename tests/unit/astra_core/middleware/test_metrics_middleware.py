"""Requests as metrics: what prometheus-fastapi-instrumentator would show, at a fraction of its price."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator import metrics as pfi
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from astra_core.asgi import ROUTE, TRACE
from astra_core.middleware import MetricsEndpoint, MetricsMiddleware
from astra_core.telemetry import LIBRARY, Metrics
from astra_core.testing import FakeClock
from tests.unit.astra_core.asgi.driver import call, http_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from astra_core.asgi import ASGIApp, Receive, Scope, Send

Samples: TypeAlias = "dict[tuple[str, frozenset[tuple[str, str]]], float]"


async def hello(request: Request) -> Response:
    """Answer with some bytes."""
    return PlainTextResponse("hello " + request.path_params.get("name", ""))


async def fails(request: Request) -> Response:
    """Raise."""
    raise ValueError("a bug")


def application() -> Starlette:
    """A few routes."""
    return Starlette(
        routes=[
            Route("/hello/{name}", hello, methods=["GET", "POST"]),
            Route("/fails", fails),
        ]
    )


def read(text: str) -> Samples:
    """Return the samples of a page but those that tell when, or of the process."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("http_") and not sample.name.endswith("_created")
    }


async def drive(app: ASGIApp) -> None:
    """A mixture of requests."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        for name in ("a", "b", "long name"):
            await http.get(f"/hello/{name}")
        await http.post("/hello/a", content=b"12345")
        await http.delete("/hello/a")
        await http.get("/nowhere")
        await http.get("/fails")


async def ours(app: ASGIApp, **options: object) -> tuple[Metrics, ASGIApp]:
    """Put our middleware round `app`."""
    metrics = Metrics(LIBRARY, clock=FakeClock())
    return metrics, MetricsMiddleware(app, metrics=metrics, clock=FakeClock(), **options)  # type: ignore[arg-type]


async def test_names_labels_and_counts_are_those_of_the_instrumentator() -> None:
    """The same requests through both: each series of its default metrics is shown by ours too, with its value."""
    registry = CollectorRegistry()
    theirs = application()
    Instrumentator(registry=registry).instrument(theirs)
    metrics, app = await ours(application())
    await drive(theirs)
    await drive(app)
    wanted = read(generate_latest(registry).decode())
    found = read((await metrics.render())[1].decode())
    assert len(wanted) > 50
    times = {"http_request_duration_seconds_sum", "http_request_duration_highr_seconds_sum"}
    for (name, labels), value in wanted.items():
        if name in times or name.endswith("_bucket"):
            continue  # how long it took is another matter
        if name == "http_response_size_bytes_sum" and ("handler", "/fails") in labels:
            continue  # ours stands outside what answers for an error, and sees that answer
        assert found[name, labels] == value, (name, labels)
    buckets = {key for key in wanted if key[0] == "http_request_duration_highr_seconds_bucket"}
    assert buckets <= found.keys()


async def test_a_request_is_counted_in_the_bucket_of_its_time() -> None:
    """By the clock, from its beginning to the end of its answer."""
    clock = FakeClock()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = "/slow"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        clock.advance(0.3)
        await send({"type": "http.response.body", "body": b""})

    metrics = Metrics(LIBRARY, clock=clock)
    app = MetricsMiddleware(slow, metrics=metrics, clock=clock)
    await call(app, http_scope("/slow"))
    found = read((await metrics.render())[1].decode())
    label = {("handler", "/slow"), ("method", "GET")}

    def bucket(le: str) -> float:
        return found["http_request_duration_seconds_bucket", frozenset({*label, ("le", le)})]

    assert [bucket(le) for le in ("0.1", "0.25", "0.5", "+Inf")] == [0, 0, 1, 1]
    assert found["http_request_duration_seconds_sum", frozenset(label)] == pytest.approx(0.3)
    assert found["http_request_duration_highr_seconds_bucket", frozenset({("le", "0.5")})] == 1


async def test_what_strangers_choose_makes_no_series() -> None:
    """A thousand paths and methods that nobody knows are one handler and one method."""
    metrics, app = await ours(application())
    for number in range(1_000):
        await call(app, http_scope(f"/none/{number}", method=f"M{number}"))
    found = read((await metrics.render())[1].decode())
    labels = frozenset({("handler", "none"), ("method", "OTHER"), ("status", "4xx")})
    assert found["http_requests_total", labels] == 1_000
    assert len([name for name, _ in found if name == "http_requests_total"]) == 1


async def test_a_request_without_an_answer_is_counted() -> None:
    """One that raised is 5xx and raises on, one that was cancelled 4xx; what is under way shows as such."""
    metrics, app = await ours(fails_at_once)
    with pytest.raises(ValueError, match="a bug"):
        await call(app, http_scope("/x"))
    waiting = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.set()
        await asyncio.Event().wait()

    app = MetricsMiddleware(waits, metrics=metrics, clock=FakeClock())
    task = asyncio.ensure_future(call(app, http_scope("/x")))
    await waiting.wait()
    assert "http_requests_inprogress 1.0" in (await metrics.render())[1].decode()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = read((await metrics.render())[1].decode())
    for status in ("4xx", "5xx"):
        labels = frozenset({("handler", "none"), ("method", "GET"), ("status", status)})
        assert found["http_requests_total", labels] == 1


async def fails_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise before any answer."""
    raise ValueError("a bug")


async def test_a_traced_request_leaves_an_exemplar_in_open_metrics() -> None:
    """With its trace and span, on the bucket of its time; the text format has none."""

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = "/t"
        scope[TRACE] = bytes(range(24))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    metrics, app = await ours(traced)
    await call(app, http_scope("/t"))
    _, body = await metrics.render("application/openmetrics-text; version=1.0.0")
    families = {one.name: one for one in open_metrics(body.decode())}  # type: ignore[no-untyped-call]
    family = families["http_request_duration_seconds"]
    exemplars = [sample.exemplar for sample in family.samples if sample.exemplar is not None]
    assert [exemplar.labels for exemplar in exemplars] == [
        {"trace_id": bytes(range(16)).hex(), "span_id": bytes(range(16, 24)).hex()}
    ]
    assert b"trace_id" not in (await metrics.render())[1]


async def test_custom_metrics_of_the_instrumentator_go_on_working() -> None:
    """Its own ready-made functions of `Info`, and one's own, on the registry of these metrics."""
    metrics = Metrics(LIBRARY, clock=FakeClock())
    seen: list[tuple[str, str, str, int | None]] = []

    def own(info: pfi.Info) -> None:
        status = info.response.status_code if info.response is not None else None
        seen.append((info.modified_handler, info.method, info.modified_status, status))

    size = pfi.response_size(metric_name="own_size_bytes", registry=metrics.registry)
    assert size is not None
    app = MetricsMiddleware(application(), metrics=metrics, clock=FakeClock(), instrumentations=(own, size))
    await drive(app)
    assert seen[0] == ("/hello/{name}", "GET", "2xx", 200)
    assert ("none", "GET", "4xx", 404) in seen
    assert ("/fails", "GET", "5xx", None) in seen or ("/fails", "GET", "5xx", 500) in seen
    _, body = await metrics.render()
    assert 'own_size_bytes_count{handler="/hello/{name}",method="GET",status="2xx"} 3.0' in body.decode()


async def test_the_endpoint_of_the_instrumentator_shows_these_metrics() -> None:
    """Whoever has `Instrumentator().expose(app)` keeps it, over the registry of these metrics."""
    inner = application()
    metrics, app = await ours(inner)
    Instrumentator(registry=metrics.registry).expose(inner)
    await drive(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        page = await http.get("/metrics")
    wanted = ("http_requests_total", frozenset({("handler", "/hello/{name}"), ("method", "GET"), ("status", "2xx")}))
    assert page.status_code == 200
    assert read(page.text)[wanted] == 3


async def test_the_endpoint_answers_in_the_format_that_is_asked_for() -> None:
    """Mounted in any application."""
    metrics = Metrics(LIBRARY, clock=FakeClock())
    app = Starlette(routes=[Mount("/metrics", app=MetricsEndpoint(metrics))])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        plain = await http.get("/metrics/")
        opened = await http.get("/metrics/", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("headers", "size"),
    [([], 0), ([(b"content-length", b"12")], 12), ([(b"content-length", b"1" * 400)], 0)],
)
async def test_sizes_are_what_the_headers_say(headers: list[tuple[bytes, bytes]], size: int) -> None:
    """Nothing, a number, or nonsense, which counts as nothing."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    metrics, app = await ours(answer)
    await call(app, http_scope("/x", method="POST", headers=headers))
    found: Mapping[tuple[str, frozenset[tuple[str, str]]], float] = read((await metrics.render())[1].decode())
    labels = frozenset({("handler", "none")})
    assert found["http_request_size_bytes_sum", labels] == size
    assert found["http_response_size_bytes_sum", labels] == size
