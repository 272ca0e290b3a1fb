"""The edge: the middleware stack, the redirect path, and the way to the management application."""

from app.edge.in_flight import InFlight, Requests
from app.edge.last_resort import LastResort
from app.edge.redirects import Redirects
from app.edge.stack import build_edge

__all__ = ["InFlight", "LastResort", "Redirects", "Requests", "build_edge"]
