"""HTTP to service and back: the only layer that knows status codes."""

from app.api.application import build_management
from app.api.health import HealthApi
from app.api.links import LinkApi, PageLimits
from app.api.operations import operations
from app.api.payload import BodyLimits
from app.api.problems import problem_of
from app.api.views import LinkViews, ShortUrls

__all__ = [
    "BodyLimits",
    "HealthApi",
    "LinkApi",
    "LinkViews",
    "PageLimits",
    "ShortUrls",
    "build_management",
    "operations",
    "problem_of",
]
