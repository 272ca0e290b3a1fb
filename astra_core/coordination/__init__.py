"""Who does what: leases, members, and work that runs in one process of many."""

from astra_core.coordination.guarded import coordination_is_failing, coordination_said_nothing, guarded
from astra_core.coordination.leadership import Leadership
from astra_core.coordination.leases import Lease, Leases, Standing
from astra_core.coordination.members import Member, Members, View
from astra_core.coordination.memory import MemoryCoordination
from astra_core.coordination.sqlite import SqliteCoordination
from astra_core.coordination.tenure import Tenure
from astra_core.coordination.urls import CoordinationEngine, coordination_from_url

__all__ = [
    "CoordinationEngine",
    "Leadership",
    "Lease",
    "Leases",
    "Member",
    "Members",
    "MemoryCoordination",
    "SqliteCoordination",
    "Standing",
    "Tenure",
    "View",
    "coordination_from_url",
    "coordination_is_failing",
    "coordination_said_nothing",
    "guarded",
]
