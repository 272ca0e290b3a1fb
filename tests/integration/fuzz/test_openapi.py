from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from app.main import compose
from astra_core.config import as_loaded
from tests.integration.api.served import HOST, client_of, settings_at
from tests.integration.fuzz.live import examples

if TYPE_CHECKING:
    import httpx

    from tests.integration.fuzz.live import Live

KINDS = ["plain", "query", "few", "later", "off", "moved"]
BATCH = "POST /v1/links/batch"
IN_PARTS = {BATCH, "POST /v1/imports"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
    unsupported_method,
]
Case: TypeAlias = "schemathesis.Case[Any]"
bounded = settings(deadline=None, suppress_health_check=list(HealthCheck))


def document() -> dict[str, Any]:
    """What `/openapi.json` answers; it needs no store, so the application is not opened for it."""

    async def fetch() -> Any:
        async with client_of(compose(as_loaded(settings_at(Path(tempfile.gettempdir()), "memory")))) as http:
            return (await http.get("/openapi.json")).json()

    described: dict[str, Any] = asyncio.run(fetch())
    return described


DOCUMENT = document()
schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.config.base_url = HOST


@schemathesis.serializer("application/x-ndjson", "application/ndjson", "application/jsonl")
def as_it_is(context: schemathesis.SerializationContext, value: Any) -> Any:
    """A file is sent as it is, and what is no file as JSON."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace")


def send(live: Live, case: Case) -> httpx.Response:
    """Send a case as it is, characters beyond ASCII in headers too."""
    request = case.as_transport_kwargs()
    request.pop("cookies", None)
    if "data" in request:
        request["content"] = request.pop("data")
    headers = request.pop("headers") or {}
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return live.request(request.pop("method"), request.pop("url"), headers=raw, **request)


@schema.parametrize()
@settings(bounded, max_examples=examples(25, 500))
def test_the_application_is_as_described(case: Case, live: Live) -> None:
    """Whatever fits the description or just does not, the answer is one that it names, in the form that it gives.

    What violates the description is refused, except by the batch and the import, which refuse their links one by one.
    """
    checks = CHECKS if case.operation.label in IN_PARTS else [*CHECKS, negative_data_rejection]
    case.validate_response(send(live, case), checks=checks)


SUCCESSES = {
    "POST /v1/links": 201,
    "GET /v1/links": 200,
    BATCH: 200,
    "GET /v1/links/{code}": 200,
    "PATCH /v1/links/{code}": 200,
    "DELETE /v1/links/{code}": 204,
    "POST /v1/links/{code}/disable": 200,
    "POST /v1/links/{code}/enable": 200,
    "GET /{code}": 302,
}


@pytest.mark.parametrize("label", SUCCESSES)
def test_successes_are_as_described(live: Live, label: str) -> None:
    """With URLs, codes and ETags that exist cases get past every check, and those answers are as described too."""
    operation = schema[label.split()[1]][label.split()[0]]
    seen: Counter[int] = Counter()
    codes = [link["code"] for link in live.request("GET", "/v1/links?limit=200").json()["items"]]
    assert set(KINDS) <= set(codes)

    @settings(bounded, max_examples=examples(80, 1_000), database=None, derandomize=True)
    @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        settle(case, data, codes)
        response = send(live, case)
        case.validate_response(response, checks=CHECKS)
        seen[response.status_code] += 1

    check()
    assert seen[SUCCESSES[label]], seen


def settle(case: Case, data: st.DataObject, codes: list[str]) -> None:
    """Put values into a case that mean something to the application."""
    if "code" in case.path_parameters:
        case.path_parameters["code"] = data.draw(st.just("nothere") | st.sampled_from(KINDS) | st.sampled_from(codes))
    if "If-Match" in case.headers:
        case.headers["If-Match"] = data.draw(st.sampled_from(['"1"', '"2"', "*"]))
    body: Any = case.body if isinstance(case.body, dict) else {}
    for link in [body, *body.get("links", ())]:
        for name in ("starts_at", "expires_at", "title", "tags"):
            if data.draw(st.booleans()):
                link.pop(name, None)
        if "url" in link:
            link["url"] = data.draw(st.sampled_from(["https://a.example/", "http://b.example/ü?x", "ftp://c"]))
        if link.get("code") is not None:
            link["code"] = data.draw(st.sampled_from(["plain", f"new-{len(codes)}"]) | st.none())


def test_the_document_is_openapi() -> None:
    """The document is valid OpenAPI 3.1, and names an operation once."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    schema.validate()
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_what_the_edge_may_answer_is_described_everywhere() -> None:
    """Too many at once, no room and no time can meet any request, and say when to come again where that is known."""
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            assert {"429", "503", "504"} <= set(answers)
            assert "Retry-After" in answers["429"]["headers"]
