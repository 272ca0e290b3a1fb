"""What the service refuses beyond the rules for fields."""

from __future__ import annotations

from astra_core.errors import AstraError

__all__ = [
    "CodeTaken",
    "IdempotencyInProgress",
    "IdempotencyMismatch",
    "InvalidCursor",
    "NotAllowed",
    "UnknownLink",
    "VersionMismatch",
]


class UnknownLink(AstraError):  # noqa: N818 - says what it is
    """No link has this code, or it was deleted: then it can be restored."""

    def __init__(self, code: str, *, deleted: bool = False) -> None:
        self.code = code
        self.deleted = deleted
        super().__init__(f"no link has the code {code!r}")


class CodeTaken(AstraError):  # noqa: N818 - says what it is
    """The custom code belongs to another link, maybe a deleted one: codes are never given out twice."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(f"the code {code!r} is taken")


class VersionMismatch(AstraError):  # noqa: N818 - says what it is
    """The caller named another version than the link stands at."""

    def __init__(self, code: str, *, version: int) -> None:
        self.code = code
        self.version = version
        super().__init__(f"the link {code!r} stands at version {version}")


class NotAllowed(AstraError):  # noqa: N818 - says what it is
    """The lifecycle forbids this in the state that the link is in; `reason` is the machine's own line."""

    def __init__(self, code: str, *, state: str, reason: str) -> None:
        self.code = code
        self.state = state
        self.reason = reason
        super().__init__(reason)


class IdempotencyInProgress(AstraError):  # noqa: N818 - says what it is
    """A request with this Idempotency-Key is being carried out."""


class IdempotencyMismatch(AstraError):  # noqa: N818 - says what it is
    """This Idempotency-Key was used for another payload."""


class InvalidCursor(AstraError):  # noqa: N818 - says what it is
    """A cursor that this listing did not give out."""
