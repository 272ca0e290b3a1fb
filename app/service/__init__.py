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
from app.service.idempotency import IDEMPOTENCY, Answer, IdempotencyKeys, Receipt
from app.service.management import LinkManager, Listing, SnapshotPage
from app.service.snapshot import Snapshot

__all__ = [
    "IDEMPOTENCY",
    "Answer",
    "CodeTaken",
    "Draft",
    "IdempotencyInProgress",
    "IdempotencyKeys",
    "IdempotencyMismatch",
    "InvalidCursor",
    "LinkCreator",
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
