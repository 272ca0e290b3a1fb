"""Versioned records, counters, changes and history behind ports, and the stores that serve them."""

from astra_core.storage.changes import Changes, ChangesFeed
from astra_core.storage.guarded import (
    guarded,
    store_is_failing,
    store_said_nothing,
    wrote_nothing,
)
from astra_core.storage.history import Event, History, Message
from astra_core.storage.memory import MemoryStore
from astra_core.storage.observed import observed
from astra_core.storage.once import made_once
from astra_core.storage.records import Collection, Index, Page, Query, Record
from astra_core.storage.sqlite import SqliteStore
from astra_core.storage.store import Store
from astra_core.storage.urls import StoreEngine, limit_store, store_from_url
from astra_core.storage.writes import (
    Add,
    Append,
    Change,
    Delete,
    Entries,
    Forget,
    Insert,
    Publish,
    Replace,
    Require,
    Scalar,
    Sent,
    Take,
    Write,
)

__all__ = [
    "Add",
    "Append",
    "Change",
    "Changes",
    "ChangesFeed",
    "Collection",
    "Delete",
    "Entries",
    "Event",
    "Forget",
    "History",
    "Index",
    "Insert",
    "MemoryStore",
    "Message",
    "Page",
    "Publish",
    "Query",
    "Record",
    "Replace",
    "Require",
    "Scalar",
    "Sent",
    "SqliteStore",
    "Store",
    "StoreEngine",
    "Take",
    "Write",
    "guarded",
    "limit_store",
    "made_once",
    "observed",
    "store_from_url",
    "store_is_failing",
    "store_said_nothing",
    "wrote_nothing",
]
