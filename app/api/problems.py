"""Which problem (RFC 9457) each error becomes: the one place that knows the status codes of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from app.codes import CodesExhausted
from app.domain import InvalidLink, InvalidUrl, ReservedCode
from app.imports import InvalidImport, NoRoom, TooLarge, TooManyUploads, UnknownImport, UploadBroken, UploadLate
from app.service import (
    CodeTaken,
    IdempotencyInProgress,
    IdempotencyMismatch,
    InvalidCursor,
    NotAllowed,
    UnknownLink,
    VersionMismatch,
)
from astra_core.asgi import FieldError, Problem
from astra_core.errors import AstraError, CommitConflict, CommitInDoubt, Overloaded, StoreUnavailable, WorkCut

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RequestRefused", "problem_of", "refuse"]

_URN = "urn:astra:problem:"
_CLOSE = ((b"connection", b"close"),)
"""For an answer that comes before the whole body: the rest of it is not wanted."""
_UPLOADS_WAIT = 10.0
_DETAILS = {
    404: "There is nothing at this path; /openapi.json lists what there is.",
    405: "This path does not answer this method; see Allow.",
}


class RequestRefused(AstraError):  # noqa: N818 - says what it is
    """The request itself is at fault; carries its whole problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


def refuse(
    status: int, detail: str, *, errors: tuple[FieldError, ...] = (), header: tuple[str, str] | None = None
) -> RequestRefused:
    """Return the error that answers with a problem of this status."""
    headers = () if header is None else ((header[0].encode(), header[1].encode()),)
    return RequestRefused(Problem(status=status, detail=detail, errors=errors, headers=headers))


def problem_of(error: BaseException) -> Problem | None:
    """Return the problem that `error` is answered with; None for one that nobody expected."""
    for kind in type(error).__mro__:
        answer = _PROBLEMS.get(kind)
        if answer is not None:
            return answer(error)
    return None


def _invalid(error: InvalidLink) -> Problem:
    found = tuple(FieldError(problem.pointer, problem.detail) for problem in error.problems)
    count = "One member is" if len(found) == 1 else f"{len(found)} members are"
    return Problem(
        status=422,
        type=_URN + "invalid-link",
        title="Invalid link",
        detail=f"{count} invalid: see errors.",
        errors=found,
    )


def _invalid_url(error: InvalidUrl) -> Problem:
    return Problem(status=422, type=_URN + "invalid-link", title="Invalid link", detail=error.detail)


def _unknown(error: UnknownLink) -> Problem:
    detail = "No link has this code."
    if error.deleted:
        path = f"/v1/links/{error.code}"
        detail = f"This link was deleted. POST {path}/restore takes that back; GET {path}/history tells of it."
    return Problem(status=404, type=_URN + "unknown-link", title="Unknown link", detail=detail)


def _taken(error: CodeTaken) -> Problem:
    detail = f"The code {error.code!r} belongs to another link, or did once; choose another, or leave it out."
    return Problem(status=409, type=_URN + "code-taken", title="Code taken", detail=detail)


def _reserved(error: ReservedCode) -> Problem:
    detail = f"The code {error.code!r} is reserved for the service itself; choose another, or leave it out."
    return Problem(status=409, type=_URN + "code-reserved", title="Code reserved", detail=detail)


def _version(error: VersionMismatch) -> Problem:
    tag = f'"{error.version}"'
    detail = (
        f"If-Match does not name the version that the link stands at, {tag}. Read the link again, then repeat with its "
        "ETag as it is: in quotes, without W/ before it."
    )
    etag = (b"etag", tag.encode())
    return Problem(status=412, type=_URN + "version-mismatch", title="Version mismatch", detail=detail, headers=(etag,))


def _not_allowed(error: NotAllowed) -> Problem:
    detail = f"The {error.reason}; nothing was changed."
    return Problem(status=409, type=_URN + "not-allowed", title="Not allowed in this state", detail=detail)


def _in_progress(error: IdempotencyInProgress) -> Problem:
    detail = "A request with this Idempotency-Key is still being carried out; repeat it later for its answer."
    return Problem(status=409, type=_URN + "in-progress", title="In progress", detail=detail, retry_after=1.0)


def _mismatch(error: IdempotencyMismatch) -> Problem:
    detail = "This Idempotency-Key was used for another payload; take a new key for a new request."
    return Problem(status=422, type=_URN + "idempotency-key-reused", title="Idempotency-Key reused", detail=detail)


def _cursor(error: InvalidCursor) -> Problem:
    detail = f"cursor: {error}; take it from next_cursor of the same listing, or leave it out to begin anew."
    return Problem(status=422, type=_URN + "invalid-cursor", title="Invalid cursor", detail=detail)


def _unavailable(error: StoreUnavailable) -> Problem:
    detail = "The store of links does not answer now; nothing was changed."
    if isinstance(error, CommitInDoubt):
        detail = (
            "The store of links did not answer in time, so this may have been done or not; "
            "look, or repeat the request with its Idempotency-Key."
        )
    return Problem(
        status=503,
        type=_URN + "store-unavailable",
        title="Store unavailable",
        detail=detail,
        retry_after=error.retry_after,
    )


def _overloaded(error: Overloaded) -> Problem:
    detail = "The server has more work waiting than it can do; try again later."
    return Problem(
        status=503, type=_URN + "overloaded", title="Overloaded", detail=detail, retry_after=error.retry_after
    )


def _cut(error: WorkCut) -> Problem:
    detail = "The server is stopping, so this may have been done or not; look, or repeat the request elsewhere."
    return Problem(status=503, type=_URN + "stopping", title="Stopping", detail=detail, retry_after=1.0)


def _conflict(error: CommitConflict) -> Problem:
    detail = "Another change came between; read the link again, then repeat."
    return Problem(status=409, type=_URN + "conflict", title="Conflict", detail=detail)


def _exhausted(error: CodesExhausted) -> Problem:
    detail = "No code is left to give out; name one yourself in code, or ask the operator for another codes.region."
    return Problem(status=503, type=_URN + "codes-exhausted", title="Codes exhausted", detail=detail)


def _unknown_import(error: UnknownImport) -> Problem:
    return Problem(status=404, type=_URN + "unknown-import", title="Unknown import", detail="No import has this id.")


def _invalid_import(error: InvalidImport) -> Problem:
    return Problem(
        status=422, type=_URN + "invalid-import", title="Invalid import", detail=error.detail, headers=_CLOSE
    )


def _too_large(error: TooLarge) -> Problem:
    detail = f"The file is larger than {error.limit} bytes (imports.max_file); split it and send the pieces."
    return Problem(status=413, type=_URN + "file-too-large", title="File too large", detail=detail, headers=_CLOSE)


def _no_room(error: NoRoom) -> Problem:
    detail = "The disk that holds imports is full; nothing was kept. Send the file again when there is room."
    if error.limit is not None:
        detail = (
            f"The folder of imports would hold more than {error.limit} bytes (imports.quota); nothing was kept. "
            "Wait for imports under way to end, or send a smaller file."
        )
    return Problem(
        status=507, type=_URN + "no-room", title="No room", detail=detail, headers=_CLOSE, retry_after=_UPLOADS_WAIT
    )


def _too_many_uploads(error: TooManyUploads) -> Problem:
    detail = f"{error.limit} files are being received already (imports.uploads); send this one later."
    return Problem(
        status=503,
        type=_URN + "overloaded",
        title="Overloaded",
        detail=detail,
        headers=_CLOSE,
        retry_after=_UPLOADS_WAIT,
    )


def _upload_broken(error: UploadBroken) -> Problem:
    detail = "The connection closed before the file had arrived; nothing was kept."
    return Problem(status=400, type=_URN + "upload-broken", title="Upload broken", detail=detail)


def _upload_late(error: UploadLate) -> Problem:
    came = f"Only {error.size} bytes" if error.size else "Nothing"
    detail = f"{came} of the file came for {error.seconds:.3g} seconds; nothing was kept, send it again."
    return Problem(status=408, type=_URN + "upload-late", title="Upload late", detail=detail, headers=_CLOSE)


def _http(error: HTTPException) -> Problem:
    """Translate what Starlette's router refuses."""
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    return Problem(status=error.status_code, detail=_DETAILS.get(error.status_code, error.detail), headers=headers)


def _refused(error: RequestRefused) -> Problem:
    return error.problem


_PROBLEMS: dict[type[BaseException], Callable[..., Problem]] = {
    RequestRefused: _refused,
    HTTPException: _http,
    InvalidLink: _invalid,
    InvalidUrl: _invalid_url,
    UnknownLink: _unknown,
    CodeTaken: _taken,
    ReservedCode: _reserved,
    VersionMismatch: _version,
    NotAllowed: _not_allowed,
    IdempotencyInProgress: _in_progress,
    IdempotencyMismatch: _mismatch,
    InvalidCursor: _cursor,
    StoreUnavailable: _unavailable,
    Overloaded: _overloaded,
    WorkCut: _cut,
    CommitConflict: _conflict,
    CodesExhausted: _exhausted,
    UnknownImport: _unknown_import,
    InvalidImport: _invalid_import,
    TooLarge: _too_large,
    NoRoom: _no_room,
    TooManyUploads: _too_many_uploads,
    UploadBroken: _upload_broken,
    UploadLate: _upload_late,
}
