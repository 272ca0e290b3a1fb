"""Which outcomes of a call speak against a dependency, which for it, and which say nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from astra_core.resilience.refusal import refused_by_us

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Classifier", "Verdict", "never"]

T = TypeVar("T")

_log = logging.getLogger("astra.resilience")


class Verdict(Enum):
    """What an outcome says about the dependency."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEITHER = "neither"
    """Its permit is given back, and it is as if the call had not been."""


def never() -> bool:
    """No cancellation is our own deadline's."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """Judges errors and results by predicates.

    Neither way counts, before any predicate is asked: a refusal by a limiter or by another breaker, a deadline that the
    caller shortened, a cancellation (unless `cancellation_is_failure()` says that our own deadline caused it) and
    whatever else is no `Exception`. Then `ignore` (an error) and `ignore_result` name what counts neither way too.
    Of the rest an error is a failure unless `is_failure` denies it, a result a success unless `is_failed_result` says
    otherwise.

    A predicate that raises is logged; its error counts as a failure, its result as a success.
    """

    is_failure: Callable[[Exception], bool] | None = None
    ignore: Callable[[Exception], bool] | None = None
    is_failed_result: Callable[[object], bool] | None = None
    ignore_result: Callable[[object], bool] | None = None
    cancellation_is_failure: Callable[[], bool] = never

    @property
    def judges_results(self) -> bool:
        """Whether a result may be anything but a success."""
        return self.is_failed_result is not None or self.ignore_result is not None

    def of_error(self, error: BaseException) -> Verdict:
        """Judge what a call raised; to be asked while it is being handled."""
        if isinstance(error, asyncio.CancelledError):
            return Verdict.FAILURE if self.cancellation_is_failure() else Verdict.NEITHER
        if not isinstance(error, Exception) or refused_by_us(error):
            return Verdict.NEITHER
        if _ask(self.ignore, error, otherwise=False):
            return Verdict.NEITHER
        return Verdict.FAILURE if _ask(self.is_failure, error, otherwise=True) else Verdict.SUCCESS

    def of_result(self, result: object) -> Verdict:
        """Judge what a call returned."""
        if _ask(self.ignore_result, result, otherwise=False):
            return Verdict.NEITHER
        return Verdict.FAILURE if _ask(self.is_failed_result, result, otherwise=False) else Verdict.SUCCESS


def _ask(predicate: Callable[[T], bool] | None, subject: T, *, otherwise: bool) -> bool:
    if predicate is None:
        return otherwise
    try:
        return bool(predicate(subject))
    except Exception:
        _log.exception("the predicate %r of a breaker failed on %r", predicate, subject)
        return otherwise
