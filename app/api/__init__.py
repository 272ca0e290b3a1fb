"""HTTP to service and back: the only layer that knows status codes."""

from app.api.admin import AdminGate
from app.api.application import build_management
from app.api.figures import MetricsApi
from app.api.health import HealthApi
from app.api.history import HistoryApi
from app.api.import_rows import REPORT_HEAD, draft_of_row, report_of
from app.api.imports import ImportApi, view_of
from app.api.in_force import IN_FORCE, Current, InForce
from app.api.links import LinkApi, PageLimits
from app.api.operations import operations
from app.api.payload import BodyLimits
from app.api.problems import problem_of
from app.api.views import LinkViews, ShortUrls

__all__ = [
    "IN_FORCE",
    "REPORT_HEAD",
    "AdminGate",
    "BodyLimits",
    "Current",
    "HealthApi",
    "HistoryApi",
    "ImportApi",
    "InForce",
    "LinkApi",
    "LinkViews",
    "MetricsApi",
    "PageLimits",
    "ShortUrls",
    "build_management",
    "draft_of_row",
    "operations",
    "problem_of",
    "report_of",
    "view_of",
]
