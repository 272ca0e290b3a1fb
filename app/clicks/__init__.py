"""Clicks: journalled before their redirect is answered, counted exactly once."""

from app.clicks.counter import VISITS, ClickCounter
from app.clicks.journal import Journal

__all__ = ["VISITS", "ClickCounter", "Journal"]
