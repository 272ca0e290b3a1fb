"""Work by key and work that blocks: single-flight and a bounded pool of threads."""

from astra_core.keyed.flights import Flight, SingleFlight
from astra_core.keyed.pool import BlockingPool

__all__ = ["BlockingPool", "Flight", "SingleFlight"]
