"""Messaging over the embedded engine, for the processes of one machine."""

from astra_core.messaging.sqlite.messaging import SqliteMessaging

__all__ = ["SqliteMessaging"]
