"""Which series exist, and what an expression of PromQL asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import promql_parser

from app.main.families import PRODUCT
from astra_core.telemetry import LIBRARY, Kind

__all__ = ["EXPORTED", "Selector", "problems_of", "selectors"]

SCRAPE = {"job", "instance"}
EXPORTED = {sample: family for family in (*LIBRARY, *PRODUCT) for sample in family.samples}
"""Every series by name, from the tables that the service exports."""


@dataclass(frozen=True)
class Selector:
    """One series that is asked for; `rated` says whether a rate is taken of it."""

    metric: str
    labels: frozenset[str]
    rated: bool


def selectors(expression: str) -> list[Selector]:
    """Return everything that `expression` asks for. ValueError when it is no PromQL."""
    plain = expression.replace("$__rate_interval", "5m").replace("$job", "x").replace("$instance", "x")
    found: list[Selector] = []
    _walk(promql_parser.parse(plain), found, rated=False)
    return found


def _walk(node: Any, found: list[Selector], *, rated: bool) -> None:
    if isinstance(node, promql_parser.VectorSelector):
        labels = frozenset(matcher.name for matcher in node.matchers.matchers)
        found.append(Selector(node.name or "", labels, rated))
    elif isinstance(node, promql_parser.MatrixSelector):
        _walk(node.vector_selector, found, rated=rated)
    elif isinstance(node, promql_parser.Call):
        rates = node.func.name in {"rate", "increase", "irate"}
        for argument in node.args:
            _walk(argument, found, rated=rates)
    elif isinstance(node, promql_parser.BinaryExpr):
        _walk(node.lhs, found, rated=rated)
        _walk(node.rhs, found, rated=rated)
    elif isinstance(node, promql_parser.AggregateExpr | promql_parser.ParenExpr | promql_parser.UnaryExpr):
        _walk(node.expr, found, rated=rated)


def problems_of(expression: str, *, recorded: frozenset[str] = frozenset()) -> list[str]:
    """Return what is wrong with `expression`: series or labels that do not exist, counters that are not rated."""
    problems: list[str] = []
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    known = set(SCRAPE)
    for selector in selectors(expression):
        if selector.metric in recorded:
            continue
        family = EXPORTED.get(selector.metric)
        if family is None:
            problems.append(f"{selector.metric} is not exported")
            continue
        labels = {*family.labels, *SCRAPE, *({"le"} if family.kind is Kind.HISTOGRAM else set())}
        known |= labels
        if strange := selector.labels - labels:
            problems.append(f"{selector.metric} has no label {', '.join(sorted(strange))}")
        counts = family.kind in (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)
        if counts and not selector.rated:
            problems.append(f"{selector.metric} counts up: it needs a rate")
        if not counts and selector.rated:
            problems.append(f"{selector.metric} is a gauge: a rate of it means nothing")
    if not recorded and (unknown := grouped - known - {"name"}):
        problems.append(f"no series has the labels {', '.join(sorted(unknown))}")
    return problems
