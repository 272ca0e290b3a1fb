"""OpenAPI 3.1 from the typed models and the table of operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from app.api.models import ProblemView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.api.operation import Operation, Parameter

__all__ = ["document"]

_REF = "#/components/schemas/{name}"
_PROBLEM = "application/problem+json"
_ADMIN = "admin"
_EDGE = (429, 503, 504)
"""What the middleware before every operation may answer: too many at once, no room, no time."""
_PROBLEM_HEADERS = {
    401: {"WWW-Authenticate": "Bearer."},
    409: {"Retry-After": "Seconds; present while a request with the same Idempotency-Key is being carried out."},
    412: {"ETag": "The version that the link stands at."},
    429: {"Retry-After": "Seconds; this connection has too many requests under way."},
    503: {"Retry-After": "Seconds after which a further try makes sense."},
}


def document(operations: Sequence[Operation], *, version: str) -> bytes:
    """Return the document as JSON."""
    types = [t for one in operations for t in (one.body, *one.answers.values()) if t is not None]
    _, schemas = msgspec.json.schema_components([*types, ProblemView], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Astra URL shortener",
                "version": version,
                "description": "Short links that are counted exactly once. Errors are problem+json (RFC 9457).",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {"schemas": schemas, "securitySchemes": {_ADMIN: {"type": "http", "scheme": "bearer"}}},
        }
    )


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            **{str(status): _answer(operation, status) for status in operation.answers},
            **{str(status): _problem(status, page=status in operation.pages) for status in _problems(operation)},
        },
    }
    if operation.admin:
        described["security"] = [{}, {_ADMIN: []}]  # a token is asked for where the operator has set one
    if operation.parameters:
        described["parameters"] = [_parameter(one) for one in operation.parameters]
    if operation.body is not None:
        schema = _schema(operation.body)
        content = {media: {"schema": schema} for media in operation.media}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _problems(operation: Operation) -> list[int]:
    query = () if operation.any_query else (422,)
    return sorted({*operation.problems, *query, *_EDGE} - set(operation.answers))


def _answer(operation: Operation, status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    kind = operation.answers[status]
    if kind is not None:
        answer["content"] = {media: {"schema": _schema(kind)} for media in operation.produces}
    headers = operation.headers.get(status)
    if headers:
        answer["headers"] = _headers(headers)
    return answer


def _problem(status: int, *, page: bool) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {_PROBLEM: {"schema": _schema(ProblemView)}},
    }
    if page:
        problem["content"]["text/html"] = {"schema": {"type": "string"}}
    if status in _PROBLEM_HEADERS:
        problem["headers"] = _headers(_PROBLEM_HEADERS[status])
    return problem


def _headers(texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required or parameter.where == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _schema(kind: Any) -> Any:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return schema
