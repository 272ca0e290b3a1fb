"""What can go wrong with codes, beside a store that is away."""

from __future__ import annotations

from astra_core.errors import AstraError, ConfigError

__all__ = ["CodeKeyMismatch", "CodesExhausted"]


class CodeKeyMismatch(ConfigError):  # noqa: N818 - says what it is
    """The configured key is not the one that the store's codes were made with; it holds neither of them."""

    def __init__(self, problem: str) -> None:
        super().__init__([f"codes.key: {problem}"])


class CodesExhausted(AstraError):  # noqa: N818 - says what it is
    """A region has given out every code it has."""

    def __init__(self, region: int) -> None:
        self.region = region
        super().__init__(f"region {region} has no codes left")
