"""ASGI without a framework: types, the fusing `Layer`, the per-request `Exchange`, problem+json."""

from astra_core.asgi.exchange import Exchange
from astra_core.asgi.layer import ClientLeft, Layer
from astra_core.asgi.problem import FieldError, Problem, Problems
from astra_core.asgi.request_id import REQUEST_ID, RequestIds, request_id_of
from astra_core.asgi.respond import Response
from astra_core.asgi.route import ROUTE, route_of
from astra_core.asgi.trace import TRACE
from astra_core.asgi.types import ASGIApp, Header, Message, Receive, Scope, Send

__all__ = [
    "REQUEST_ID",
    "ROUTE",
    "TRACE",
    "ASGIApp",
    "ClientLeft",
    "Exchange",
    "FieldError",
    "Header",
    "Layer",
    "Message",
    "Problem",
    "Problems",
    "Receive",
    "RequestIds",
    "Response",
    "Scope",
    "Send",
    "request_id_of",
    "route_of",
]
