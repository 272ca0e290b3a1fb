"""docs/metrics.md and docs/tracing.md: their examples run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from tests.unit.astra_core.asgi.driver import call, http_scope

if TYPE_CHECKING:
    from astra_core.telemetry import Tracing

DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder that nobody misses."""
    monkeypatch.chdir(tmp_path)


def example(page: str) -> dict[str, Any]:
    """Run the example of a page, and return its names."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, page, "exec", dont_inherit=True), names)
    return names


async def test_the_example_of_metrics_counts() -> None:
    """An order is counted under its own name, its request under the route, and the endpoint shows both."""
    names = example("metrics.md")
    await names["metrics"].open()
    assert (await call(names["app"], http_scope("/orders/7"))).status == 200
    page = (await call(names["app"], http_scope("/metrics/"))).body.decode()
    await names["metrics"].close()
    assert 'orders_total{country="DK"} 1.0' in page
    assert 'http_requests_total{handler="/orders/{number}",method="GET",status="2xx"} 1.0' in page
    assert 'astra_breaker_state{name="warehouse",state="closed"} 1.0' in page


async def test_the_example_of_tracing_answers_traced_or_not() -> None:
    """Its own span is recorded where the request is, and is not where it is not; nothing is left behind."""
    names = example("tracing.md")
    tracing: Tracing = names["tracing"]
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
    for flags, spans in ((b"00", 0), (b"01", 2)):
        answer = await call(names["app"], http_scope("/hello/you", headers=[(b"traceparent", parent + flags)]))
        assert answer.body == b"hello you"
        assert tracing.queue.queued == spans
    assert not trace.get_current_span().get_span_context().is_valid
