"""What the shortener tells of itself, of everything that it has, and of nobody's secrets."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from app.main import compose
from app.main.families import PRODUCT
from app.main.reloading import Sources
from app.settings import Log, Tracing
from astra_core.config import as_loaded
from astra_core.telemetry import LIBRARY, Logs
from tests.integration.api.served import Served, client_of, settings_at
from tests.unit.astra_core.telemetry.test_tracing import http_collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OPEN = {"accept": "application/openmetrics-text; version=1.0.0"}
UNUSED = {
    "astra_hedges",  # no call of the shortener's is hedged
    "astra_throttled",  # nor throttled by its own side
    "astra_metrics_series_refused",  # absent until a family is full
}
ELSEWHERE = (
    "astra_messag",
    "astra_lease",
    "astra_member",
    "astra_slot",
    "astra_workflow",
    "astra_relay",
    "astra_import",
)
"""Of what runs in other processes, or is not asked of the shortener here."""
SECRET = "hunter2hunter2"
PROMTOOL = shutil.which("promtool")


@asynccontextmanager
async def telling(folder: Path, endpoint: str, written: io.StringIO) -> AsyncIterator[Served]:
    """Serve with every request traced and logged, and with settings that can be read again."""
    given = msgspec.structs.replace(
        settings_at(folder, "sqlite"),
        tracing=Tracing(endpoint=endpoint, ratio=1.0, per_second=10_000),
        log=Log(level="debug", format="json", access_ratio=1.0),
    )
    logs = Logs(level="debug", format="json", stream=written)
    logs.install()
    loaded = as_loaded(given)
    sources = Sources(load=lambda: as_loaded(given))
    application = compose(loaded, sources=sources, logs=logs)
    await application.open()
    try:
        async with client_of(application) as http:
            yield Served(http)
    finally:
        await application.close()
        logs.uninstall()


async def test_every_metric_of_the_tables_is_exported(tmp_path: Path) -> None:
    """Not its name alone: after a creation, a redirect and their counting each has a sample of each of its series."""
    with http_collector() as (endpoint, _):
        async with telling(tmp_path, endpoint, io.StringIO()) as served:
            link = await served.create()
            assert await served.follow(link["code"]) == 302
            await served.counted(link["code"], 1)
            page = (await served.http.get("/metrics", headers=OPEN)).text
    families = text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
    found = {sample.name for family in families for sample in family.samples}
    missing = {family.name for family in (*LIBRARY, *PRODUCT) if not found.issuperset(family.samples)}
    assert {name for name in missing if not name.startswith(ELSEWHERE)} == UNUSED
    assert 'trace_id="' in page


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian, Ubuntu: apt-get install prometheus)")
async def test_prometheus_finds_nothing_to_mend_in_the_page(tmp_path: Path) -> None:
    """Names, units, help and types are as its linter wants them."""
    with http_collector() as (endpoint, _):
        async with telling(tmp_path, endpoint, io.StringIO()) as served:
            assert await served.follow((await served.create())["code"]) == 302
            page = (await served.http.get("/metrics")).text
    assert PROMTOOL is not None
    command = [PROMTOOL, "check", "metrics"]
    done = await asyncio.to_thread(subprocess.run, command, input=page, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


async def test_a_secret_of_a_request_is_told_nowhere(tmp_path: Path) -> None:
    """Neither in logs, metrics and spans, nor in the answers; wherever in the request it stood."""
    written, answers = io.StringIO(), []
    with http_collector() as (endpoint, got):
        async with telling(tmp_path, endpoint, written) as served:
            link = await served.create()
            for method, path, options in requests(link["code"]):
                answer = await served.http.request(method, path, **options)
                answers.append((answer.status_code, answer.text, str(answer.headers)))
            answers += [(200, (await served.http.get("/metrics", headers=OPEN)).text, "")]
            await asyncio.sleep(0.05)
    lines = [line for line in written.getvalue().splitlines() if '"logger":"httpx"' not in line]  # the client's own
    told = f"{lines}{answers}{spans_of(got)}"
    assert {status for status, _, _ in answers} == {200, 201, 302, 400, 415, 422}
    assert "astra.access" in told
    assert "POST /v1/links" in spans_of(got)
    assert SECRET not in told


async def test_each_line_of_a_request_names_it(tmp_path: Path) -> None:
    """Of a redirect that memory answers too, which has no name but there."""
    written = io.StringIO()
    with http_collector() as (endpoint, _):
        async with telling(tmp_path, endpoint, written) as served:
            link = await served.create()
            for _ in range(5):
                assert await served.follow(link["code"]) == 302
    lines = [msgspec.json.decode(line) for line in written.getvalue().splitlines() if '"astra.access"' in line]
    assert [line["status"] for line in lines] == [201, 302, 302, 302, 302, 302]
    assert len({line["request_id"] for line in lines}) == len(lines)


def requests(code: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return requests with a secret in each place that may hold one."""
    headers = {
        "authorization": f"Bearer {SECRET}",
        "cookie": f"session={SECRET}",
        "x-request-id": SECRET,
        "x-api-key": SECRET,
        "tracestate": f"secret={SECRET}",
        "idempotency-key": SECRET,
    }
    body = {"url": "https://example.com/"}
    return [
        ("GET", f"/{code}?token={SECRET}", {"headers": headers}),
        ("GET", f"/v1/links?q={SECRET}&cursor={SECRET}", {"headers": headers}),
        ("GET", "/readyz", {"headers": headers}),
        ("POST", "/v1/links", {"json": body, "headers": headers}),
        ("POST", "/v1/links", {"json": {**body, "url": "https://other.example/"}, "headers": headers}),
        ("POST", "/v1/links", {"json": {"url": f"https://me:{SECRET}@example.com/"}}),
        ("POST", "/v1/links", {"json": {"url": f"nothing://{SECRET}"}}),
        ("POST", "/v1/links", {"json": {"url": 7, "password": SECRET}}),
        ("POST", "/v1/links", {"content": f'{{"url": "{SECRET}', "headers": {"content-type": "application/json"}}),
        ("POST", "/v1/links", {"content": SECRET, "headers": {"content-type": f"text/{SECRET}"}}),
        ("POST", "/v1/links/batch", {"json": {"links": [{"url": f"https://me:{SECRET}@example.com/"}, SECRET]}}),
        ("PATCH", f"/v1/links/{code}", {"json": {"password": SECRET}, "headers": {"if-match": f'"{SECRET}"'}}),
    ]


def spans_of(got: list[tuple[str, str | None, ExportTraceServiceRequest]]) -> str:
    """Return all that the collector was told, as text."""
    return "".join(str(request) for _, _, request in got)
