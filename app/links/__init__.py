"""Links: their records, and the cache that the redirect path answers from."""

from app.links.entry import Entry
from app.links.follower import Follower
from app.links.repository import FEED, LINKS, REMAINING, LinkPage, LinkRepository, StoredLink, digest_of, place_of
from app.links.resolver import Resolver

__all__ = [
    "FEED",
    "LINKS",
    "REMAINING",
    "Entry",
    "Follower",
    "LinkPage",
    "LinkRepository",
    "Resolver",
    "StoredLink",
    "digest_of",
    "place_of",
]
