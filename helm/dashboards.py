"""The Grafana dashboards as code: `python helm/dashboards.py` writes helm/astra/dashboards/*.json.

A test keeps the files current. A dashboard is a table of rows of panels. What Grafana's dashboard-linter asks of each
(its data source, the `job` and `instance` variables, units, descriptions) is added here, once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DASHBOARDS", "Dashboard", "Panel", "rendered"]

FOLDER = Path(__file__).resolve().parent / "astra" / "dashboards"
OF = 'job=~"$job", instance=~"$instance"'
RATE = "$__rate_interval"
WIDTH = 24
HEIGHT = 7


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: its queries by legend. `kind` is Grafana's type."""

    title: str
    about: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    thresholds: tuple[tuple[float | None, str], ...] = ((None, "green"),)


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One dashboard; its rows are given with their titles."""

    uid: str
    title: str
    about: str
    rows: dict[str, list[Panel]] = field(default_factory=dict)


def rate(metric: str, by: str = "", more: str = "") -> str:
    """Return a counter's rate a second, summed."""
    return f"sum{_by(by)} (rate({metric}{{{OF}{more}}}[{RATE}]))"


def total(metric: str, by: str = "", more: str = "", how: str = "sum") -> str:
    """Return a gauge of all instances."""
    return f"{how}{_by(by)} ({metric}{{{OF}{more}}})"


def quantile(q: float, metric: str, by: str = "", more: str = "") -> str:
    """Return a quantile of a histogram."""
    inner = f"sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{{{OF}{more}}}[{RATE}]))"
    return f"histogram_quantile({q}, {inner})"


def average(metric: str, by: str = "") -> str:
    """Return the mean of a histogram or summary."""
    return f"{rate(metric + '_sum', by)} / {rate(metric + '_count', by)}"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


REDIRECTS = ', handler="/{code}"'
ERRORS = ', status="5xx"'

SERVICE = Dashboard(
    uid="astra-service",
    title="Astra / Service",
    about="Rate, errors and duration of requests, by route; what is left of the error budgets.",
    rows={
        "Objectives": [
            Panel(
                title="Availability",
                about="Share of requests not answered with 5xx. The objective is 99.9 %.",
                unit="percentunit",
                kind="stat",
                width=6,
                queries={
                    "availability": f"1 - ({rate('http_requests_total', more=ERRORS)} or vector(0))"
                    f" / {rate('http_requests_total')}"
                },
                thresholds=((None, "red"), (0.999, "green")),
            ),
            Panel(
                title="Redirects under 25 ms",
                about="Share of redirects whose answer was complete within 25 ms. The objective is 99 %.",
                unit="percentunit",
                kind="stat",
                width=6,
                queries={
                    "fast": rate("http_request_duration_seconds_bucket", more=REDIRECTS + ', le="0.025"')
                    + " / "
                    + rate("http_request_duration_seconds_count", more=REDIRECTS)
                },
                thresholds=((None, "red"), (0.99, "green")),
            ),
            Panel(
                title="Requests a second",
                about="All routes together.",
                unit="reqps",
                kind="stat",
                width=6,
                queries={"requests": rate("http_requests_total")},
            ),
            Panel(
                title="In progress",
                about="Requests being answered just now.",
                unit="short",
                kind="stat",
                width=6,
                queries={"in progress": total("http_requests_inprogress")},
            ),
        ],
        "Rate and errors": [
            Panel(
                title="Requests by route",
                about="By route template; `none` is what no route answered.",
                unit="reqps",
                queries={"{{handler}}": rate("http_requests_total", "handler")},
                stacked=True,
            ),
            Panel(
                title="Requests by status",
                about="By class of status.",
                unit="reqps",
                queries={"{{status}}": rate("http_requests_total", "status")},
                stacked=True,
            ),
            Panel(
                title="Errors by route",
                about="Requests answered with 5xx.",
                unit="reqps",
                queries={"{{handler}} {{method}}": rate("http_requests_total", "handler, method", ERRORS)},
            ),
        ],
        "Duration": [
            Panel(
                title="Redirects",
                about="Time from the request to the end of its answer.",
                unit="s",
                queries={
                    f"p{text}": quantile(q, "http_request_duration_seconds", more=REDIRECTS)
                    for q, text in ((0.5, "50"), (0.99, "99"), (0.999, "99.9"))
                },
            ),
            Panel(
                title="Management, p99",
                about="The routes of the API.",
                unit="s",
                queries={
                    "{{method}} {{handler}}": quantile(
                        0.99, "http_request_duration_seconds", "handler, method", ', handler=~"/v1/.*"'
                    )
                },
            ),
            Panel(
                title="All requests",
                about="In many buckets, all routes together.",
                unit="s",
                queries={
                    f"p{text}": quantile(q, "http_request_duration_highr_seconds")
                    for q, text in ((0.5, "50"), (0.9, "90"), (0.99, "99"))
                },
            ),
        ],
        "Sizes": [
            Panel(
                title="Size of requests",
                about="Mean Content-Length.",
                unit="bytes",
                width=12,
                queries={"{{handler}}": average("http_request_size_bytes", "handler")},
            ),
            Panel(
                title="Size of answers",
                about="Mean Content-Length.",
                unit="bytes",
                width=12,
                queries={"{{handler}}": average("http_response_size_bytes", "handler")},
            ),
        ],
    },
)

DEPENDENCIES = Dashboard(
    uid="astra-dependencies",
    title="Astra / Dependencies",
    about="What stands between the service and what it needs: breakers, retries, limits, deadlines, the store, pools.",
    rows={
        "Breakers": [
            Panel(
                title="Breakers that are not closed",
                about="1 while a breaker is in the state that the legend names.",
                unit="short",
                queries={
                    "{{name}}: {{state}}": total("astra_breaker_state", "name, state", ', state!="closed"', "max")
                },
            ),
            Panel(
                title="Transitions",
                about="Breakers entering a state, a second.",
                unit="cps",
                queries={"{{name}}: {{state}}": rate("astra_breaker_transitions_total", "name, state")},
            ),
            Panel(
                title="Calls refused by a breaker",
                about="Calls a second that were not tried.",
                unit="cps",
                queries={"{{name}}": rate("astra_breaker_rejected_total", "name")},
            ),
        ],
        "Retries and deadlines": [
            Panel(
                title="Retries",
                about="Failures that could be retried: `scheduled` were, the others say why not.",
                unit="cps",
                queries={"{{name}}: {{outcome}}": rate("astra_retries_total", "name, outcome")},
            ),
            Panel(
                title="Retry budget left",
                about="Retries that the budget would pay for now, of the worker that has the fewest.",
                unit="short",
                queries={"{{name}}": total("astra_retry_budget_left", "name", how="min")},
            ),
            Panel(
                title="Deadlines exceeded",
                about="Work cut off: by our own deadline, or by one that the caller had shortened.",
                unit="cps",
                queries={"{{name}} ({{whose}})": rate("astra_deadline_exceeded_total", "name, whose")},
            ),
        ],
        "Limits": [
            Panel(
                title="Permits in use",
                about="Share of each limiter's permits that are taken.",
                unit="percentunit",
                queries={
                    "{{name}}": f"{total('astra_limiter_in_use', 'name')} / {total('astra_limiter_limit', 'name')}"
                },
            ),
            Panel(
                title="Waiting for a permit",
                about="Calls in the queue of a limiter.",
                unit="short",
                queries={"{{name}}": total("astra_limiter_queue", "name")},
            ),
            Panel(
                title="Refused by a limiter",
                about="By reason: the queue full, the wait too long, a more urgent call, one key with too many.",
                unit="cps",
                queries={"{{name}}: {{reason}}": rate("astra_limiter_rejected_total", "name, reason")},
            ),
        ],
        "Store": [
            Panel(
                title="Operations",
                about="Tries a second, by operation and outcome.",
                unit="ops",
                queries={
                    "{{operation}}: {{outcome}}": rate(
                        "astra_store_operation_duration_seconds_count", "operation, outcome"
                    )
                },
            ),
            Panel(
                title="Duration, p99",
                about="One try, without what policies round it add.",
                unit="s",
                queries={"{{operation}}": quantile(0.99, "astra_store_operation_duration_seconds", "operation")},
            ),
            Panel(
                title="Failed operations",
                about="Tries that failed; a conflict is an answer, and no failure.",
                unit="ops",
                queries={
                    "{{operation}}": rate(
                        "astra_store_operation_duration_seconds_count", "operation", ', outcome="failed"'
                    )
                },
            ),
        ],
        "Embedded engine": [
            Panel(
                title="Commit",
                about="Time of a commit, from the lock to the disk, and the wait for the lock; p99.",
                unit="s",
                queries={
                    "commit": quantile(0.99, "astra_commit_duration_seconds"),
                    "wait for the lock": quantile(0.99, "astra_commit_lock_wait_seconds"),
                },
            ),
            Panel(
                title="Writes a commit",
                about="Mean size of a group commit.",
                unit="short",
                queries={"writes": average("astra_commit_group_size")},
            ),
            Panel(
                title="Contention",
                about="Tries for the write lock that met another process.",
                unit="cps",
                queries={"tries": rate("astra_writer_contended_total")},
            ),
            Panel(
                title="Deferred indexes",
                about="Entries that wait to be put in order: some 8,000 at most, unless the store is in trouble.",
                unit="short",
                queries={
                    "{{collection}}: {{index}}": total("astra_index_entries_waiting", "collection, index", how="max")
                },
            ),
        ],
        "Workflows": [
            Panel(
                title="Events",
                about="Events sent to instances a second, by what became of them.",
                unit="cps",
                width=8,
                queries={"{{workflow}} {{outcome}}": rate("astra_workflow_events_total", "workflow, outcome")},
            ),
            Panel(
                title="Timers",
                about="Timers that fired a second, and tries that failed.",
                unit="cps",
                width=8,
                queries={
                    "{{workflow}} {{outcome}}": rate("astra_workflow_timers_total", "workflow, outcome"),
                    "{{workflow}} stuck by {{cause}}": rate("astra_workflow_stuck_total", "workflow, cause"),
                },
            ),
            Panel(
                title="Lateness of timers, p99",
                about="From when a timer was due to when it fired.",
                unit="s",
                width=8,
                queries={"{{workflow}}": quantile(0.99, "astra_workflow_timer_lateness_seconds", "workflow")},
            ),
            Panel(
                title="Steps decided again",
                about="Somebody else changed the instance between reading and writing.",
                unit="cps",
                width=6,
                queries={"{{workflow}}": rate("astra_workflow_conflicts_total", "workflow")},
            ),
            Panel(
                title="Outbox",
                about="Messages that wait to be published.",
                unit="short",
                width=6,
                queries={"{{relay}}": total("astra_relay_depth", "relay", how="max")},
            ),
            Panel(
                title="Head of the outbox",
                about="How long its oldest message has waited before the eyes of the relay.",
                unit="s",
                width=6,
                queries={"{{relay}}": total("astra_relay_age_seconds", "relay", how="max")},
            ),
            Panel(
                title="Relayed and failed",
                about="Messages published or put aside a second, and rounds that ended in an error.",
                unit="cps",
                width=6,
                queries={
                    "{{relay}} {{outcome}}": rate("astra_relay_messages_total", "relay, outcome"),
                    "{{relay}} failed by {{cause}}": rate("astra_relay_failures_total", "relay, cause"),
                },
            ),
        ],
        "Leases and slots": [
            Panel(
                title="Leases held",
                about="1 while somebody does the work of a lease; at 0 nobody does, and 2 would be a mistake of ours.",
                unit="short",
                width=6,
                queries={"{{lease}}": total("astra_lease_held", "lease")},
            ),
            Panel(
                title="Epochs",
                about="The number of each lease's holding: a step is another holder, a slope a lease that wanders.",
                unit="short",
                width=6,
                queries={"{{lease}}": total("astra_lease_epoch", "lease", how="max")},
            ),
            Panel(
                title="Changes of leases",
                about="Taken, released, lost by a late renewal; and work under a lease that failed.",
                unit="cps",
                width=6,
                queries={
                    "{{lease}} {{change}}": rate("astra_lease_changes_total", "lease, change"),
                    "{{lease}} failed by {{cause}}": rate("astra_lease_failures_total", "lease, cause"),
                },
            ),
            Panel(
                title="Members",
                about="Members of the worker that sees most, and changes of their list as all workers saw them.",
                unit="short",
                width=6,
                queries={
                    "members": total("astra_members", how="max"),
                    "changes/s": rate("astra_member_changes_total"),
                },
            ),
            Panel(
                title="Slots owned",
                about="Of 1,024; fewer while some are on their way from one member to another.",
                unit="short",
                width=12,
                queries={"slots": total("astra_slots_owned")},
            ),
            Panel(
                title="Handing over a slot, p99",
                about="From a new list of members to the slot given, and taken.",
                unit="s",
                width=12,
                queries={"{{side}}": quantile(0.99, "astra_slot_handover_seconds", "side")},
            ),
        ],
        "Messages": [
            Panel(
                title="Published and received",
                about="Messages a second, by topic; received by each group.",
                unit="cps",
                width=6,
                queries={"{{topic}} {{operation}} {{group}}": rate("astra_messages_total", "topic, operation, group")},
            ),
            Panel(
                title="Behind",
                about="Messages that a group has not acknowledged.",
                unit="short",
                width=6,
                queries={"{{topic}}: {{group}}": total("astra_messages_behind", "topic, group", how="max")},
            ),
            Panel(
                title="Dropped and lost",
                about="Dropped behind all groups, or for want of room; lost: before a group had acknowledged them.",
                unit="cps",
                width=6,
                queries={
                    "{{topic}} dropped": rate("astra_messages_trimmed_total", "topic"),
                    "{{topic}} lost to {{group}}": rate("astra_messages_lost_total", "topic, group"),
                },
            ),
            Panel(
                title="Failed operations",
                about="Tries that failed, by engine.",
                unit="ops",
                width=6,
                queries={
                    "{{engine}}: {{operation}}": rate(
                        "astra_messaging_operation_duration_seconds_count", "engine, operation", ', outcome="failed"'
                    )
                },
            ),
            Panel(
                title="Publish and acknowledge, p99",
                about="One try, without what policies round it add.",
                unit="s",
                width=12,
                queries={
                    "{{engine}}: {{operation}}": quantile(
                        0.99,
                        "astra_messaging_operation_duration_seconds",
                        "engine, operation",
                        ', operation=~"publish|acknowledge"',
                    )
                },
            ),
            Panel(
                title="Messages a call",
                about="Mean size of what was published or received at once.",
                unit="short",
                width=12,
                queries={"{{engine}}: {{operation}}": average("astra_messaging_batch_size", "engine, operation")},
            ),
        ],
        "Pools of threads": [
            Panel(
                title="In use",
                about="Share of each pool's threads at work.",
                unit="percentunit",
                queries={"{{pool}}": f"{total('astra_pool_in_use', 'pool')} / {total('astra_pool_max', 'pool')}"},
            ),
            Panel(
                title="Queue",
                about="Calls that wait for a thread.",
                unit="short",
                queries={"{{pool}}": total("astra_pool_queue", "pool")},
            ),
            Panel(
                title="Wait, p99",
                about="Time that a call waited for a thread.",
                unit="s",
                queries={"{{pool}}": quantile(0.99, "astra_pool_wait_seconds", "pool")},
            ),
        ],
    },
)

RUNTIME = Dashboard(
    uid="astra-runtime",
    title="Astra / Runtime",
    about="The processes: their loop, memory, processor time, settings, and the pipelines of logs and traces.",
    rows={
        "Processes": [
            Panel(
                title="Workers",
                about="Worker processes that are alive.",
                unit="short",
                kind="stat",
                width=6,
                queries={"workers": total("astra_workers")},
            ),
            Panel(
                title="What runs",
                about="Versions, and the settings in force.",
                unit="short",
                kind="stat",
                width=6,
                queries={
                    "{{version}} on Python {{python}}": total("astra_build_info", "version, python", how="count"),
                    "settings {{checksum}} ({{environment}})": total(
                        "astra_config_info", "checksum, environment", how="count"
                    ),
                },
            ),
            Panel(
                title="Memory a worker",
                about="Resident memory, mean of the workers.",
                unit="bytes",
                width=6,
                queries={"memory": f"{total('astra_worker_memory_bytes')} / {total('astra_workers')}"},
            ),
            Panel(
                title="Processor",
                about="Cores in use, all workers.",
                unit="short",
                width=6,
                queries={"cores": rate("astra_worker_cpu_seconds_total")},
            ),
        ],
        "Event loop": [
            Panel(
                title="Lag",
                about="How late the loop ran what was due: something held it.",
                unit="s",
                width=12,
                queries={
                    f"p{text}": quantile(q, "astra_event_loop_lag_seconds") for q, text in ((0.5, "50"), (0.99, "99"))
                },
            ),
            Panel(
                title="Threads",
                about="Threads of each pool, all workers.",
                unit="short",
                width=12,
                queries={"{{pool}}": total("astra_pool_threads", "pool")},
            ),
        ],
        "Settings": [
            Panel(
                title="Reloads",
                about="Times that settings were read again, by result.",
                unit="cps",
                queries={"{{result}}": rate("astra_config_reloads_total", "result")},
            ),
            Panel(
                title="Refused, pending",
                about="Whether a worker refuses what its settings say now, and how many keys wait for a restart.",
                unit="short",
                queries={
                    "refused": total("astra_config_refused", how="max"),
                    "pending": total("astra_config_pending", how="max"),
                },
            ),
            Panel(
                title="Last good reading",
                about="Since when the settings have not been read and found good.",
                unit="s",
                queries={"age": f"time() - {total('astra_config_last_success_timestamp_seconds', how='min')}"},
            ),
        ],
        "Logs and traces": [
            Panel(
                title="Log lines",
                about="By level.",
                unit="cps",
                width=6,
                queries={"{{level}}": rate("astra_log_lines_total", "level")},
                stacked=True,
            ),
            Panel(
                title="Lines lost",
                about="Dropped since the output did not take them, or suppressed as too many.",
                unit="cps",
                width=6,
                queries={
                    "dropped": rate("astra_log_dropped_total"),
                    "suppressed": rate("astra_access_log_suppressed_total"),
                },
            ),
            Panel(
                title="Spans",
                about="What became of them, and of the requests that were to have some; 0 where tracing is off.",
                unit="cps",
                width=6,
                queries={
                    "{{outcome}}": rate("astra_trace_spans_total", "outcome"),
                    "requests {{decision}}": rate("astra_trace_requests_total", "decision"),
                },
            ),
            Panel(
                title="Waiting",
                about="Log lines and spans in their queues.",
                unit="short",
                width=6,
                queries={"lines": total("astra_log_queue"), "spans": total("astra_trace_queue")},
            ),
        ],
    },
)

FROM_MEMORY = f"{rate('astra_cache_hits_total')} + {rate('astra_cache_unknown_total')}"

PRODUCT = Dashboard(
    uid="astra-product",
    title="Astra / Product",
    about="Links, clicks, imports, and the cache that answers for links.",
    rows={
        "Links": [
            Panel(
                title="Links made",
                about="A second; `reused` were answered with an equal link that existed.",
                unit="cps",
                queries={"made": rate("astra_links_created_total"), "reused": rate("astra_links_reused_total")},
            ),
            Panel(
                title="Redirects",
                about="A second, by class of status.",
                unit="reqps",
                queries={"{{status}}": rate("http_requests_total", "status", REDIRECTS)},
            ),
            Panel(
                title="Codes at hand",
                about="Numbers for new codes before the next block is fetched, all workers.",
                unit="short",
                queries={"codes": total("astra_codes_left")},
            ),
        ],
        "Clicks": [
            Panel(
                title="Clicks",
                about="Stored in the journal, and added to the counts of links.",
                unit="cps",
                queries={
                    "recorded": rate("astra_clicks_recorded_total"),
                    "counted": rate("astra_clicks_counted_total"),
                },
            ),
            Panel(
                title="Clicks lost",
                about="Dropped for want of room, or lost with segments over the quota. Never in good order.",
                unit="cps",
                queries={"dropped": rate("astra_clicks_dropped_total"), "lost": rate("astra_clicks_lost_total")},
                thresholds=((None, "green"), (0.001, "red")),
            ),
            Panel(
                title="Journal",
                about="Age of the oldest click that is not counted yet.",
                unit="s",
                queries={"age": total("astra_journal_age_seconds", how="max")},
            ),
            Panel(
                title="Journal space",
                about="Of what its folder may take.",
                unit="percentunit",
                queries={
                    "used": total("astra_journal_bytes", how="max")
                    + " / "
                    + total("astra_journal_quota_bytes", how="max")
                },
            ),
            Panel(
                title="Counting refused",
                about="Rounds of counting that the store did not take, and whether the journal cannot be synced.",
                unit="short",
                queries={
                    "rounds a second": rate("astra_clicks_failures_total"),
                    "sync failed": total("astra_journal_sync_failed", how="max"),
                },
            ),
            Panel(
                title="Requests cut off by shutdown",
                about="A second.",
                unit="cps",
                queries={"requests": rate("astra_requests_cancelled_total")},
            ),
        ],
        "Imports": [
            Panel(
                title="Rows imported",
                about="By what became of them.",
                unit="cps",
                queries={"{{outcome}}": rate("astra_import_rows_total", by="outcome")},
            ),
            Panel(
                title="Imports",
                about="A second, by the state that they came to.",
                unit="cps",
                queries={"{{state}}": rate("astra_imports_total", by="state")},
            ),
            Panel(
                title="Write lock",
                about="How long commits of imports keep it: at `imports.hold`, unless the disk's sync takes longer.",
                unit="s",
                queries={
                    "p50": quantile(0.5, "astra_import_hold_seconds"),
                    "p99": quantile(0.99, "astra_import_hold_seconds"),
                },
            ),
            Panel(
                title="Uploads and workers",
                about="Files that are being received; workers started a second, of which an import needs one.",
                unit="short",
                queries={
                    "uploads": total("astra_import_uploads"),
                    "workers started": rate("astra_import_workers_total"),
                },
            ),
        ],
        "Cache": [
            Panel(
                title="Hit ratio",
                about="Share of look-ups that memory answered, unknown codes included.",
                unit="percentunit",
                queries={"hits": f"({FROM_MEMORY}) / ({FROM_MEMORY} + {rate('astra_cache_misses_total')})"},
            ),
            Panel(
                title="Look-ups",
                about="`stale` were answered past their time, the store being away; `joined` shared another's read.",
                unit="cps",
                queries={
                    "hits": rate("astra_cache_hits_total"),
                    "unknown": rate("astra_cache_unknown_total"),
                    "misses": rate("astra_cache_misses_total"),
                    "stale": rate("astra_cache_stale_total"),
                    "joined": rate("astra_single_flight_joins_total"),
                },
            ),
            Panel(
                title="Entries",
                about="Share of the room that is taken.",
                unit="percentunit",
                queries={
                    "{{kind}}": f"{total('astra_cache_entries', 'kind')} / {total('astra_cache_capacity', 'kind')}"
                },
            ),
            Panel(
                title="Evictions",
                about="Links that made room for others.",
                unit="cps",
                queries={"evictions": rate("astra_cache_evictions_total")},
            ),
            Panel(
                title="News of changes",
                about="Time since all changes made elsewhere were known to be applied, of the worker furthest behind.",
                unit="s",
                queries={"age": total("astra_changes_age_seconds", how="max")},
            ),
            Panel(
                title="Cache cleared",
                about="Times that a worker was too far behind and forgot everything.",
                unit="cps",
                queries={"gaps": rate("astra_changes_gaps_total")},
            ),
        ],
    },
)

DASHBOARDS = (SERVICE, DEPENDENCIES, RUNTIME, PRODUCT)


def rendered(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard, each panel a line of its own, so that a change reads well."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in dashboard.rows.items():
        panels.append(_row(title, top, len(panels) + 1))
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > WIDTH:
                left, top = 0, top + HEIGHT
            panels.append(_panel(panel, left, top, len(panels) + 1))
            left += panel.width
        top += HEIGHT
    head = json.dumps(_head(dashboard), indent=2, ensure_ascii=False)
    lines = ",\n".join("    " + json.dumps(panel, ensure_ascii=False) for panel in panels)
    return head.removesuffix("\n}") + f',\n  "panels": [\n{lines}\n  ]\n}}\n'


def _head(dashboard: Dashboard) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["astra"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "utc",
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "Astra",
                "tags": ["astra"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("job", "Job", "label_values(astra_workers, job)", source),
                _variable("instance", "Instance", 'label_values(astra_workers{job=~"$job"}, instance)', source),
            ]
        },
    }


def _variable(name: str, label: str, query: str, source: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": source,
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def _row(title: str, top: int, number: int) -> dict[str, Any]:
    place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, left: int, top: int, number: int) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    steps = [{"value": value, "color": colour} for value, colour in panel.thresholds]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults |= {"min": 0, "custom": {"fillOpacity": 20 if panel.stacked else 5, "stacking": stacking}}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "gridPos": {"h": HEIGHT, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": source, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> int:
    """Write every dashboard."""
    for dashboard in DASHBOARDS:
        name = dashboard.uid.removeprefix("astra-")
        (FOLDER / f"{name}.json").write_text(rendered(dashboard), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
