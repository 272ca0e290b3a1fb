"""Every metric of the library, once: name, meaning, unit and labels.

HTTP families carry the names and labels of prometheus-fastapi-instrumentator, so dashboards made for it work. What an
application exports of its own stands in a table of its own, of the same rows.
"""

from __future__ import annotations

from astra_core.telemetry.family import Across, Family, Kind

__all__ = ["LIBRARY"]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_HIGH_RESOLUTION = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)

HTTP_REQUESTS = Family(
    name="http_requests",
    kind=Kind.COUNTER,
    help="Requests answered, by route template, method and class of status.",
    labels=("handler", "method", "status"),
)
HTTP_DURATION = Family(
    name="http_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="Time from the request to the end of its answer.",
    labels=("handler", "method"),
    unit="seconds",
    buckets=_FAST,
)
HTTP_DURATION_HIGHR = Family(
    name="http_request_duration_highr_seconds",
    kind=Kind.HISTOGRAM,
    help="Time from the request to the end of its answer, all routes together, in many buckets.",
    unit="seconds",
    buckets=_HIGH_RESOLUTION,
)
HTTP_REQUEST_SIZE = Family(
    name="http_request_size_bytes",
    kind=Kind.SUMMARY,
    help="Content-Length of requests; 0 where there was none.",
    labels=("handler",),
    unit="bytes",
)
HTTP_RESPONSE_SIZE = Family(
    name="http_response_size_bytes",
    kind=Kind.SUMMARY,
    help="Content-Length of answers; 0 where there was none.",
    labels=("handler",),
    unit="bytes",
)
HTTP_IN_PROGRESS = Family(name="http_requests_inprogress", kind=Kind.GAUGE, help="Requests being answered.")

BREAKER_STATE = Family(
    name="astra_breaker_state",
    kind=Kind.GAUGE,
    help="1 for the state that a circuit breaker is in, in any worker.",
    labels=("name", "state"),
    across=Across.MAX,
)
BREAKER_TRANSITIONS = Family(
    name="astra_breaker_transitions",
    kind=Kind.COUNTER,
    help="Times that a circuit breaker entered a state.",
    labels=("name", "state"),
)
BREAKER_REJECTED = Family(
    name="astra_breaker_rejected",
    kind=Kind.COUNTER,
    help="Calls that a circuit breaker refused.",
    labels=("name",),
)
RETRIES = Family(
    name="astra_retries",
    kind=Kind.COUNTER,
    help="Retries `scheduled`, calls that one saved (`succeeded`), and failures that went to the caller, by why.",
    labels=("name", "outcome"),
)
RETRY_BUDGET = Family(
    name="astra_retry_budget_left",
    kind=Kind.GAUGE,
    help="Retries that the budget would pay for now, of the worker that has the fewest.",
    labels=("name",),
    across=Across.MIN,
)
HEDGES = Family(
    name="astra_hedges", kind=Kind.COUNTER, help="Second copies of slow calls that were sent.", labels=("name",)
)
LIMITER_IN_USE = Family(
    name="astra_limiter_in_use", kind=Kind.GAUGE, help="Permits of a limiter that are taken.", labels=("name",)
)
LIMITER_LIMIT = Family(
    name="astra_limiter_limit", kind=Kind.GAUGE, help="Permits that a limiter has, all workers.", labels=("name",)
)
LIMITER_QUEUE = Family(
    name="astra_limiter_queue", kind=Kind.GAUGE, help="Calls that wait for a permit.", labels=("name",)
)
LIMITER_REJECTED = Family(
    name="astra_limiter_rejected",
    kind=Kind.COUNTER,
    help="Calls that a limiter refused, and why.",
    labels=("name", "reason"),
)
THROTTLED = Family(
    name="astra_throttled",
    kind=Kind.COUNTER,
    help="Calls dropped on our own side because the other one refuses too many.",
    labels=("name",),
)
DEADLINE_EXCEEDED = Family(
    name="astra_deadline_exceeded",
    kind=Kind.COUNTER,
    help="Work cut off by a deadline: our `own`, or one that the `caller` had shortened.",
    labels=("name", "whose"),
)
STORE_DURATION = Family(
    name="astra_store_operation_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="Time of one try of a store operation, without what policies round it add.",
    labels=("store", "operation", "outcome"),
    unit="seconds",
    buckets=_FAST,
)
MESSAGES = Family(
    name="astra_messages",
    kind=Kind.COUNTER,
    help="Messages by what became of them: `publish`, in which no group is named, and `receive`.",
    labels=("topic", "group", "operation"),
)
MESSAGES_TRIMMED = Family(
    name="astra_messages_trimmed",
    kind=Kind.COUNTER,
    help="Messages that were dropped: every group had acknowledged them, or there was no room.",
    labels=("topic",),
)
MESSAGES_LOST = Family(
    name="astra_messages_lost",
    kind=Kind.COUNTER,
    help="Messages that were dropped for want of room before a group had acknowledged them.",
    labels=("topic", "group"),
)
MESSAGES_BEHIND = Family(
    name="astra_messages_behind",
    kind=Kind.GAUGE,
    help="Messages that a group has not acknowledged, by the worker that says most.",
    labels=("topic", "group"),
    across=Across.MAX,
)
MESSAGING_BATCH = Family(
    name="astra_messaging_batch_size",
    kind=Kind.HISTOGRAM,
    help="Messages that were published or received in one call; a receive without any is not counted.",
    labels=("engine", "operation"),
    buckets=(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0),
)
MESSAGING_DURATION = Family(
    name="astra_messaging_operation_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="Time of one try of a messaging operation, without what policies round it add; a `receive` waits on purpose.",
    labels=("engine", "operation", "outcome"),
    unit="seconds",
    buckets=_FAST,
)
WORKFLOW_EVENTS = Family(
    name="astra_workflow_events",
    kind=Kind.COUNTER,
    help="Events that somebody sent to an instance, by what became of them; `duplicate`: taken before.",
    labels=("workflow", "outcome"),
)
WORKFLOW_CONFLICTS = Family(
    name="astra_workflow_conflicts",
    kind=Kind.COUNTER,
    help="Steps decided again, as somebody else changed the instance between reading and writing.",
    labels=("workflow",),
)
WORKFLOW_TIMERS = Family(
    name="astra_workflow_timers",
    kind=Kind.COUNTER,
    help="Timers that fired, by what became of their events.",
    labels=("workflow", "outcome"),
)
WORKFLOW_LATENESS = Family(
    name="astra_workflow_timer_lateness_seconds",
    kind=Kind.HISTOGRAM,
    help="How late timers fired.",
    labels=("workflow",),
    unit="seconds",
    buckets=(0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)
WORKFLOW_STUCK = Family(
    name="astra_workflow_stuck",
    kind=Kind.COUNTER,
    help="Tries to fire the timers of an instance that failed, other than by a store that is away.",
    labels=("workflow", "cause"),
)
RELAY_MESSAGES = Family(
    name="astra_relay_messages",
    kind=Kind.COUNTER,
    help="Messages of the outbox: `sent`, or put aside as `refused`, since no broker can take them.",
    labels=("relay", "outcome"),
)
RELAY_FAILURES = Family(
    name="astra_relay_failures",
    kind=Kind.COUNTER,
    help="Rounds of a relay that ended in an error, after which it waits.",
    labels=("relay", "cause"),
)
RELAY_DEPTH = Family(
    name="astra_relay_depth",
    kind=Kind.GAUGE,
    help="Messages that wait in the outbox, as the relay saw last; only the one with the lease looks.",
    labels=("relay",),
    across=Across.MAX,
)
RELAY_AGE = Family(
    name="astra_relay_age_seconds",
    kind=Kind.GAUGE,
    help="How long the message at the head of the outbox has stood there before the eyes of the relay.",
    labels=("relay",),
    unit="seconds",
    across=Across.MAX,
)
LEASE_HELD = Family(
    name="astra_lease_held",
    kind=Kind.GAUGE,
    help="1 while one of the workers holds the lease and may act on it; never more.",
    labels=("lease",),
)
LEASE_EPOCH = Family(
    name="astra_lease_epoch",
    kind=Kind.GAUGE,
    help="The number of the holding under way, 0 where there is none: it grows with each new holder.",
    labels=("lease",),
    across=Across.MAX,
)
LEASE_CHANGES = Family(
    name="astra_lease_changes",
    kind=Kind.COUNTER,
    help="Times that a worker has `taken` the lease, has `released` it, or has `lost` it by a late renewal.",
    labels=("lease", "change"),
)
LEASE_FAILURES = Family(
    name="astra_lease_failures",
    kind=Kind.COUNTER,
    help="Times that the work under a lease ended in an error, to be run again by whoever takes the lease.",
    labels=("lease", "cause"),
)
MEMBERS = Family(
    name="astra_members",
    kind=Kind.GAUGE,
    help="Members, as the worker sees them that sees most.",
    across=Across.MAX,
)
MEMBER_CHANGES = Family(
    name="astra_member_changes", kind=Kind.COUNTER, help="Changes of the list of members, as each worker saw them."
)
SLOTS_OWNED = Family(
    name="astra_slots_owned", kind=Kind.GAUGE, help="Slots whose work is done, all workers: 1024 but while they move."
)
SLOT_HANDOVER = Family(
    name="astra_slot_handover_seconds",
    kind=Kind.HISTOGRAM,
    help="Time from a new list of members to a slot that it moved being `given` by its old owner, `taken` by its new.",
    labels=("side",),
    unit="seconds",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
COMMIT_GROUP = Family(
    name="astra_commit_group_size",
    kind=Kind.HISTOGRAM,
    help="Writes that shared one commit.",
    buckets=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
)
COMMIT_DURATION = Family(
    name="astra_commit_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="Time of one commit, from the lock to the disk.",
    unit="seconds",
    buckets=_FAST,
)
COMMIT_WAIT = Family(
    name="astra_commit_lock_wait_seconds",
    kind=Kind.HISTOGRAM,
    help="Time that a commit waited for the lock of the database.",
    unit="seconds",
    buckets=_FAST,
)
WRITER_CONTENDED = Family(
    name="astra_writer_contended", kind=Kind.COUNTER, help="Tries for the lock that met another process."
)
ENTRIES_WAITING = Family(
    name="astra_index_entries_waiting",
    kind=Kind.GAUGE,
    help="Entries of a deferred index that wait to be put in order, by the worker that says most.",
    labels=("collection", "index"),
    across=Across.MAX,
)
POOL_IN_USE = Family(
    name="astra_pool_in_use", kind=Kind.GAUGE, help="Calls that run in a pool's threads.", labels=("pool",)
)
POOL_MAX = Family(
    name="astra_pool_max", kind=Kind.GAUGE, help="Threads that a pool may have, all workers.", labels=("pool",)
)
POOL_THREADS = Family(
    name="astra_pool_threads", kind=Kind.GAUGE, help="Threads that a pool has, all workers.", labels=("pool",)
)
POOL_QUEUE = Family(
    name="astra_pool_queue", kind=Kind.GAUGE, help="Calls that wait for a thread of a pool.", labels=("pool",)
)
POOL_WAIT = Family(
    name="astra_pool_wait_seconds",
    kind=Kind.HISTOGRAM,
    help="Time that a call waited for a thread.",
    labels=("pool",),
    unit="seconds",
    buckets=_FAST,
)
LOOP_LAG = Family(
    name="astra_event_loop_lag_seconds",
    kind=Kind.HISTOGRAM,
    help="How late the event loop ran what was due.",
    unit="seconds",
    buckets=_FAST,
)
WORKERS = Family(name="astra_workers", kind=Kind.GAUGE, help="Worker processes that are alive.")
WORKER_MEMORY = Family(
    name="astra_worker_memory_bytes", kind=Kind.GAUGE, help="Resident memory, all workers.", unit="bytes"
)
WORKER_CPU = Family(
    name="astra_worker_cpu_seconds",
    kind=Kind.COUNTER,
    help="Processor time, user and system, all workers.",
    unit="seconds",
)
BUILD = Family(name="astra_build", kind=Kind.INFO, help="What runs.", labels=("version", "python", "implementation"))
CONFIG = Family(
    name="astra_config",
    kind=Kind.INFO,
    help="The settings in force.",
    labels=("version", "checksum", "environment"),
)
CONFIG_RELOADS = Family(
    name="astra_config_reloads",
    kind=Kind.COUNTER,
    help="Times that settings were read again: `applied`, `refused`, or `unchanged`.",
    labels=("result",),
)
CONFIG_SUCCESS = Family(
    name="astra_config_last_success_timestamp_seconds",
    kind=Kind.GAUGE,
    help="When the settings were last read and found good, of the worker where that is longest ago.",
    unit="seconds",
    across=Across.MIN,
)
CONFIG_REFUSED = Family(
    name="astra_config_refused",
    kind=Kind.GAUGE,
    help="1 while a worker refuses what its settings say now, and goes by older ones.",
    across=Across.MAX,
)
CONFIG_PENDING = Family(
    name="astra_config_pending",
    kind=Kind.GAUGE,
    help="Keys whose new value waits for a restart.",
    across=Across.MAX,
)
SERIES_REFUSED = Family(
    name="astra_metrics_series_refused",
    kind=Kind.COUNTER,
    help="Label values that were folded into `other`, since their family has as many series as it may.",
    labels=("family",),
)
SPANS = Family(
    name="astra_trace_spans",
    kind=Kind.COUNTER,
    help="Spans by what became of them: `exported`, `failed`, or `dropped` for want of room in the queue.",
    labels=("outcome",),
)
TRACED_REQUESTS = Family(
    name="astra_trace_requests",
    kind=Kind.COUNTER,
    help="Requests that were to be traced: `taken`, or `limited`, being more than `tracing.per_second`.",
    labels=("decision",),
)
SPAN_QUEUE = Family(name="astra_trace_queue", kind=Kind.GAUGE, help="Spans that wait to be exported.")
LOG_LINES = Family(name="astra_log_lines", kind=Kind.COUNTER, help="Log lines by level.", labels=("level",))
LOG_DROPPED = Family(
    name="astra_log_dropped", kind=Kind.COUNTER, help="Log lines dropped because the output did not take them."
)
ACCESS_SUPPRESSED = Family(
    name="astra_access_log_suppressed",
    kind=Kind.COUNTER,
    help="Failed or slow requests that left no line, being more than `log.per_second`.",
)
LOG_QUEUE = Family(name="astra_log_queue", kind=Kind.GAUGE, help="Log lines that wait to be written.")

LIBRARY: tuple[Family, ...] = tuple(family for family in tuple(globals().values()) if isinstance(family, Family))
"""The whole table."""
