"""Links: their records, and the cache that the redirect path answers from."""

from app.links.entry import Entry
from app.links.exhaustions import Exhaustions
from app.links.follower import Follower
from app.links.keeper import LinkKeeper, LinkRunner, link_runner
from app.links.older import OlderLinks
from app.links.repository import (
    EXHAUSTED,
    FEED,
    LINKS,
    REMAINING,
    LinkPage,
    LinkRepository,
    StoredLink,
    digest_of,
    place_of,
)
from app.links.resolver import Resolver

__all__ = [
    "EXHAUSTED",
    "FEED",
    "LINKS",
    "REMAINING",
    "Entry",
    "Exhaustions",
    "Follower",
    "LinkKeeper",
    "LinkPage",
    "LinkRepository",
    "LinkRunner",
    "OlderLinks",
    "Resolver",
    "StoredLink",
    "digest_of",
    "link_runner",
    "place_of",
]
