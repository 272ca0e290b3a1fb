"""What the shortener does, in its own words: no HTTP and no engine."""

from app.service.bulk import SliceCreator
from app.service.creation import LinkCreator
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
from app.service.importing import DraftOf, Importer, ReportOf
from app.service.imports import ImportManager, ImportPage, ImportSnapshot, Upload
from app.service.management import LinkManager, Listing, SnapshotPage
from app.service.pace import SlicePace
from app.service.planning import Outcome
from app.service.snapshot import Snapshot

__all__ = [
    "HAPPENINGS",
    "IDEMPOTENCY",
    "Answer",
    "CodeTaken",
    "Draft",
    "DraftOf",
    "Happening",
    "HistoryPage",
    "IdempotencyInProgress",
    "IdempotencyKeys",
    "IdempotencyMismatch",
    "ImportManager",
    "ImportPage",
    "ImportSnapshot",
    "Importer",
    "InvalidCursor",
    "LinkCreator",
    "LinkHistory",
    "LinkManager",
    "LinkRules",
    "Listing",
    "NotAllowed",
    "Outcome",
    "Receipt",
    "ReportOf",
    "SliceCreator",
    "SlicePace",
    "Snapshot",
    "SnapshotPage",
    "UnknownLink",
    "Upload",
    "VersionMismatch",
]
