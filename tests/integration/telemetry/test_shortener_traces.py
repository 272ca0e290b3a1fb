"""The shortener traced: from a request, through the store, to the counting of its click, in a real collector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from app.settings import Tracing
from tests.integration.api.served import serve, settings_at
from tests.unit.astra_core.telemetry.test_tracing import http_collector

if TYPE_CHECKING:
    from pathlib import Path

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


async def test_a_click_is_linked_to_the_request_that_made_it(tmp_path: Path) -> None:
    """A creation and two redirects, each with what it called; a third one is not traced, and counts all the same."""
    with http_collector() as (endpoint, got):
        given = msgspec.structs.replace(
            settings_at(tmp_path, "sqlite"), tracing=Tracing(endpoint=endpoint, ratio=0.0, per_second=1_000)
        )
        async with serve(given) as served:
            made = await served.http.post(
                "/v1/links", json={"url": "https://example.com/?secret=hunter2"}, headers={"traceparent": PARENT + "01"}
            )
            path = "/" + made.json()["code"]
            for flags in ("01", "01", "00"):
                answer = await served.http.get(f"{path}?token=hunter3", headers={"traceparent": PARENT + flags})
                assert answer.status_code == 302
            await served.counted(path[1:], 3)
            await asyncio.sleep(0.05)
    spans = [
        span
        for _, _, request in got
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    by_name: dict[str, list[Any]] = {}
    for span in spans:
        by_name.setdefault(span.name, []).append(span)
    assert len(by_name["GET /{code}"]) == 2
    (creation,) = by_name["POST /v1/links"]
    assert creation.span_id in {span.parent_span_id for span in by_name["commit"]}
    linked = {link.span_id for count in by_name["count clicks"] for link in count.links}
    assert linked == {span.span_id for span in by_name["GET /{code}"]}
    counting = {span.span_id for span in by_name["count clicks"]}
    assert counting & {span.parent_span_id for span in by_name["commit"]}
    assert "hunter" not in str(spans)
