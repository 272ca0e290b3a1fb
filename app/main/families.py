"""Every metric of the shortener itself, once; those of the library stand in `astra_core.telemetry.names`."""

from __future__ import annotations

from astra_core.telemetry.family import Across, Family, Kind

__all__ = ["PRODUCT"]

LINKS_CREATED = Family(name="astra_links_created", kind=Kind.COUNTER, help="Links made.")
LINKS_REUSED = Family(
    name="astra_links_reused", kind=Kind.COUNTER, help="Requests answered with an equal link that existed."
)
CODES_LEFT = Family(
    name="astra_codes_left", kind=Kind.GAUGE, help="Numbers at hand for new codes, all workers, before the next block."
)
CACHE_HITS = Family(name="astra_cache_hits", kind=Kind.COUNTER, help="Links found in memory.")
CACHE_MISSES = Family(name="astra_cache_misses", kind=Kind.COUNTER, help="Links asked of the store.")
CACHE_STALE = Family(
    name="astra_cache_stale",
    kind=Kind.COUNTER,
    help="Links answered from memory past their time, the store being away.",
)
CACHE_UNKNOWN = Family(name="astra_cache_unknown", kind=Kind.COUNTER, help="Codes known from memory to be unknown.")
CACHE_EVICTIONS = Family(name="astra_cache_evictions", kind=Kind.COUNTER, help="Links that made room for others.")
CACHE_ENTRIES = Family(
    name="astra_cache_entries",
    kind=Kind.GAUGE,
    help="Entries in memory, all workers: `positive` are links, `negative` unknown codes.",
    labels=("kind",),
)
CACHE_CAPACITY = Family(
    name="astra_cache_capacity", kind=Kind.GAUGE, help="Entries that memory may hold, all workers.", labels=("kind",)
)
FLIGHT_JOINS = Family(
    name="astra_single_flight_joins", kind=Kind.COUNTER, help="Callers that shared another's read of the same link."
)
CHANGES_AGE = Family(
    name="astra_changes_age_seconds",
    kind=Kind.GAUGE,
    help="Time since changes made elsewhere were last known to be all applied, of the worker furthest behind.",
    unit="seconds",
    across=Across.MAX,
)
CHANGES_GAPS = Family(
    name="astra_changes_gaps", kind=Kind.COUNTER, help="Times that a worker was too far behind and cleared its cache."
)
CLICKS_RECORDED = Family(name="astra_clicks_recorded", kind=Kind.COUNTER, help="Clicks stored in the journal.")
CLICKS_COUNTED = Family(name="astra_clicks_counted", kind=Kind.COUNTER, help="Clicks added to the counts of links.")
CLICKS_DROPPED = Family(
    name="astra_clicks_dropped", kind=Kind.COUNTER, help="Clicks lost for want of room in the journal."
)
CLICKS_LOST = Family(
    name="astra_clicks_lost", kind=Kind.COUNTER, help="Clicks lost with segments that were removed over the quota."
)
CLICKS_FAILURES = Family(
    name="astra_clicks_failures", kind=Kind.COUNTER, help="Rounds of counting that the store refused."
)
JOURNAL_BYTES = Family(
    name="astra_journal_bytes",
    kind=Kind.GAUGE,
    help="Space that the clicks of this store take in the journal.",
    unit="bytes",
    across=Across.MAX,
)
JOURNAL_QUOTA = Family(
    name="astra_journal_quota_bytes",
    kind=Kind.GAUGE,
    help="Space that the clicks of this store may take in the journal.",
    unit="bytes",
    across=Across.MAX,
)
JOURNAL_AGE = Family(
    name="astra_journal_age_seconds",
    kind=Kind.GAUGE,
    help="Age of the oldest click that is not counted yet.",
    unit="seconds",
    across=Across.MAX,
)
JOURNAL_SYNC_FAILED = Family(
    name="astra_journal_sync_failed",
    kind=Kind.GAUGE,
    help="1 while the journal cannot be synced, so that a power cut would take more than its interval.",
    across=Across.MAX,
)
IMPORTS = Family(
    name="astra_imports",
    kind=Kind.COUNTER,
    help="Imports that came to a state: a resumed one comes to `running` again.",
    labels=("state",),
)
IMPORT_ROWS = Family(
    name="astra_import_rows",
    kind=Kind.COUNTER,
    help="Rows of imports by what became of them: `created`, `reused` (an equal link was there), `failed`.",
    labels=("outcome",),
)
IMPORT_HOLD = Family(
    name="astra_import_hold_seconds",
    kind=Kind.HISTOGRAM,
    help="How long each commit of an import kept the write lock of the store, its sync included.",
    unit="seconds",
    buckets=(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0),
)
IMPORT_UPLOADS = Family(
    name="astra_import_uploads", kind=Kind.GAUGE, help="Files that are being received, all server processes."
)
IMPORT_WORKERS = Family(name="astra_import_workers", kind=Kind.COUNTER, help="Workers that server processes started.")
REQUESTS_CANCELLED = Family(
    name="astra_requests_cancelled", kind=Kind.COUNTER, help="Requests that shutdown cut off after the drain timeout."
)

PRODUCT: tuple[Family, ...] = tuple(family for family in tuple(globals().values()) if isinstance(family, Family))
"""The whole table."""
