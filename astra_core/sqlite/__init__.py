"""The embedded engine over SQLite. Knows connections, transactions and files, and nothing of what they hold."""

from astra_core.sqlite.connections import Connect, Schema, connect
from astra_core.sqlite.database import Database
from astra_core.sqlite.limits import Limits
from astra_core.sqlite.pool import Pool

__all__ = ["Connect", "Database", "Limits", "Pool", "Schema", "connect"]
