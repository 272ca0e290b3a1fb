"""What can be measured, by name. A new way to build the stack is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["AWAY", "BARE", "ECHO", "INSTRUMENTED", "OURS", "RAW", "REDIRECTS", "Variant", "chosen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One application under load.

    `target` is what uvicorn is given. `share` is the part of the requests that it is sent, being slow. `shortener` says
    that it is the service: it gets a store and a journal of its own, a link is made through its API first, and its
    visits are counted afterwards. `settings` are the variables that make this variant of the service different.
    """

    name: str
    target: str
    shortener: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0

    def environ(self, folder: Path) -> dict[str, str]:
        """Return the variables of the service, with store and journal in `folder`; none for a reference."""
        if not self.shortener:
            return {}
        own = {
            "ASTRA_STORE__URL": f"sqlite:{folder / 'astra.db'}",
            "ASTRA_CLICKS__JOURNAL": str(folder / "journal"),
            "ASTRA_METRICS__FOLDER": str(folder / "metrics"),
            "ASTRA_IMPORTS__FOLDER": str(folder / "imports"),
        }
        return {**own, **self.settings}

    def traced(self, collector: str) -> Variant:
        """Return this variant with its sampled traces sent to `collector`, or where its own settings say.

        A reference stays as it is.
        """
        if not self.shortener:
            return self
        tracing = {"ASTRA_TRACING__ENDPOINT": collector, "ASTRA_TRACING__PER_SECOND": "100000"}
        return replace(self, settings={**tracing, **self.settings})


OURS = Variant(name="ours", target="app:asgi", shortener=True)
BARE = Variant(name="bare", target="loadtests.reference:bare_redirect")
RAW = Variant(name="raw", target="loadtests.reference:raw_redirect")
INSTRUMENTED = Variant(name="instrumented", target="loadtests.instrumented:instrumented_redirect", share=0.1)
"""Bare Starlette with prometheus-fastapi-instrumentator and opentelemetry-instrumentation-asgi, for comparison."""
AWAY = Variant(
    name="away",
    target="app:asgi",
    shortener=True,
    settings={"ASTRA_TRACING__ENDPOINT": "http://127.0.0.1:9", "ASTRA_TRACING__TIMEOUT": "100ms"},
)
"""Ours, with nobody where its collector should be."""
ECHO = Variant(name="echo", target="loadtests.reference:bare_echo")

REDIRECTS: Mapping[str, Variant] = {variant.name: variant for variant in (OURS, BARE, RAW, INSTRUMENTED, AWAY)}
"""Applications that answer redirects."""


def chosen(names: Sequence[str], *, collector: str) -> list[Variant]:
    """Return redirect variants by name, traced by `collector`; the first three, which the ratios need, in any case."""
    unknown = [name for name in names if name not in REDIRECTS]
    if unknown:
        raise ValueError(f"no such variant: {', '.join(unknown)}; known: {', '.join(REDIRECTS)}")
    wanted = {OURS.name, BARE.name, RAW.name, *names}
    return [variant.traced(collector) for variant in REDIRECTS.values() if variant.name in wanted]
