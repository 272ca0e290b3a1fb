"""Clicks: journalled before their redirect is answered, counted exactly once."""

from app.clicks.counter import VISITS, ClickCounter
from app.clicks.journal import Journal
from app.clicks.segment import traced

__all__ = ["VISITS", "ClickCounter", "Journal", "traced"]
