"""The adapter of the storage ports over the embedded engine."""

from astra_core.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
