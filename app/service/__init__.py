"""What the shortener does, in its own words: no HTTP and no engine."""

from app.service.creation import LinkCreator, Outcome
from app.service.drafts import Draft, LinkRules
from app.service.errors import (
    CodeTaken,
    IdempotencyInProgress,
    IdempotencyMismatch,
    InvalidCursor,
    NotAllowed,
    UnknownLink,
    VersionMismatch,
)
from app.service.history import HAPPENINGS, Happening, HistoryPage, LinkHistory
from app.service.idempotency import IDEMPOTENCY, Answer, IdempotencyKeys, Receipt
from app.service.management import LinkManager, Listing, SnapshotPage
from app.service.snapshot import Snapshot

__all__ = [
    "HAPPENINGS",
    "IDEMPOTENCY",
    "Answer",
    "CodeTaken",
    "Draft",
    "Happening",
    "HistoryPage",
    "IdempotencyInProgress",
    "IdempotencyKeys",
    "IdempotencyMismatch",
    "InvalidCursor",
    "LinkCreator",
    "LinkHistory",
    "LinkManager",
    "LinkRules",
    "Listing",
    "NotAllowed",
    "Outcome",
    "Receipt",
    "Snapshot",
    "SnapshotPage",
    "UnknownLink",
    "VersionMismatch",
]
