"""The edge: the middleware stack, the redirect path, and the way to the management application."""

from app.edge.cached import CachedRedirects
from app.edge.drain import Drain, Draining
from app.edge.last_resort import LastResort
from app.edge.redirects import Redirects
from app.edge.stack import build_edge

__all__ = ["CachedRedirects", "Drain", "Draining", "LastResort", "Redirects", "build_edge"]
