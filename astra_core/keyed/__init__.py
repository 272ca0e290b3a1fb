"""Work by key and work that blocks: one at a time per key, single-flight, and a bounded pool of threads."""

from astra_core.keyed.attempts import doubling, every_error
from astra_core.keyed.executor import KeyedExecutor
from astra_core.keyed.flights import Flight, SingleFlight
from astra_core.keyed.inline import InlineExecutor
from astra_core.keyed.letters import DeadLetter, DeadLetters
from astra_core.keyed.pool import BlockingPool
from astra_core.keyed.port import Executor

__all__ = [
    "BlockingPool",
    "DeadLetter",
    "DeadLetters",
    "Executor",
    "Flight",
    "InlineExecutor",
    "KeyedExecutor",
    "SingleFlight",
    "doubling",
    "every_error",
]
