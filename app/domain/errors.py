"""What the domain refuses, each error with the data that an answer needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.domain.rules import Problem

__all__ = ["InvalidLink", "InvalidUrl", "ReservedCode"]


class InvalidUrl(AstraError):  # noqa: N818 - the field's term
    """A URL that the rules refuse; `detail` says why in one sentence, and what would be accepted."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class InvalidLink(AstraError):  # noqa: N818 - the field's term
    """Fields of a link that break a rule; `problems` holds every one as (JSON pointer, detail)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.pointer}: {problem.detail}" for problem in self.problems))


class ReservedCode(AstraError):  # noqa: N818 - the field's term
    """A custom code that the service keeps for itself."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(f"the code {code!r} is reserved")
