"""The edge: the middleware stack, the redirect path, and the way to the management application."""

from app.edge.cached import CachedRedirects
from app.edge.drain import Drain, Draining
from app.edge.last_resort import LastResort
from app.edge.policies import EdgePolicies, is_our_fault, is_worth_another_try, priority_of
from app.edge.proxies import TrustedProxies
from app.edge.redirects import Freshness, Redirects
from app.edge.stack import build_edge

__all__ = [
    "CachedRedirects",
    "Drain",
    "Draining",
    "EdgePolicies",
    "Freshness",
    "LastResort",
    "Redirects",
    "TrustedProxies",
    "build_edge",
    "is_our_fault",
    "is_worth_another_try",
    "priority_of",
]
