from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import app.codes.errors
import app.domain.errors
import app.imports.errors
import app.service.errors
import astra_core.errors
from app.api import problem_of
from app.codes import CodesExhausted
from app.domain import InvalidLink, InvalidUrl, Problem, ReservedCode
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
from astra_core.errors import (
    AstraError,
    CommitConflict,
    ConfigError,
    ConflictReason,
    Overloaded,
    Reentered,
    StoreUnavailable,
    WorkCut,
    WorkRefused,
)

if TYPE_CHECKING:
    from types import ModuleType

ERRORS: list[tuple[AstraError, int]] = [
    (InvalidLink([Problem("/a", "must be b"), Problem("/c", "must be d")]), 422),
    (InvalidUrl("must be a URL"), 422),
    (ReservedCode("ui"), 409),
    (UnknownLink("abc"), 404),
    (CodeTaken("abc"), 409),
    (VersionMismatch("abc", version=7), 412),
    (NotAllowed("abc", state="disabled", reason="link is disabled: disable does not apply"), 409),
    (IdempotencyInProgress(), 409),
    (IdempotencyMismatch(), 422),
    (InvalidCursor("it is not a cursor of this listing"), 422),
    (StoreUnavailable("the disk at /secret is full", retry_after=4), 503),
    (Overloaded("store", limit=5), 503),
    (WorkRefused("links", "secret", "mailbox", limit=5), 503),
    (WorkCut("links", "secret"), 503),
    (CommitConflict(ConflictReason.VERSION, write=0, key="secret"), 409),
    (CodesExhausted(3), 503),
    (UnknownImport("secret"), 404),
    (InvalidImport("The file is empty."), 422),
    (TooLarge(100), 413),
    (NoRoom(), 507),
    (NoRoom(100), 507),
    (TooManyUploads(4), 503),
    (UploadBroken(), 400),
    (UploadLate(10), 408),
]
START_UP = {AstraError, ConfigError, astra_core.errors.DefinitionError, astra_core.errors.StorageError}
START_UP |= {app.codes.errors.CodeKeyMismatch}
MISTAKES = {Reentered}
"""Those of a program: a 500 is what they are."""
BESIDE = (astra_core.errors.MessagingError, astra_core.errors.CoordinationError, astra_core.errors.SlotMoved)
"""Those of engines that no request calls: what works beside the requests meets them."""


def errors_in(module: ModuleType) -> set[type]:
    """The errors that a module defines."""
    found = (getattr(module, name) for name in module.__all__)
    return {one for one in found if isinstance(one, type) and issubclass(one, AstraError)}


def test_every_error_of_a_request_has_its_problem() -> None:
    """No error that a request can raise is left to become a 500."""
    modules = (app.service.errors, app.domain.errors, app.codes.errors, app.imports.errors, astra_core.errors)
    found = {error for error in set.union(*map(errors_in, modules)) if not issubclass(error, BESIDE)}
    assert found - START_UP - MISTAKES == {type(error) for error, _ in ERRORS}


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_a_problem_says_what_and_hides_how(error: AstraError, status: int) -> None:
    """Each has its status, a type of its own, a sentence, and nothing of the store's insides."""
    problem = problem_of(error)
    assert problem is not None
    assert problem.status == status
    assert problem.type.startswith("urn:astra:problem:")
    assert problem.title
    assert problem.detail
    assert "secret" not in problem.detail
    assert problem.status != 503 or isinstance(error, CodesExhausted) or problem.retry_after


def test_what_nobody_expected_has_none() -> None:
    """A bug is not dressed up as an answer."""
    assert problem_of(ValueError("x")) is None
    assert problem_of(AstraError("x")) is None
