"""The trace that a request belongs to, for what names it: exemplars of metrics, log lines, records of what was done."""

from __future__ import annotations

__all__ = ["TRACE"]

TRACE = "astra.trace"
"""Key of the scope that holds a sampled request's trace id (16 bytes) and span id (8 bytes); absent in any other."""
