"""A small schema, for tests of what is done with any."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from astra_core.config import Duration, Problem, Secret, Section, Size, hot, restart

__all__ = ["Schema", "Web"]


class Web(Section, frozen=True, kw_only=True):
    """A key of each kind."""

    port: Annotated[int, restart("Port.", ge=0, le=65_535)] = 8080
    host: Annotated[str, restart("Host.", min_length=1, pattern="^[a-z.]+$")] = "localhost"
    patience: Annotated[Duration, hot("Wait.", ge=0.1, le=60)] = 5.0
    room: Annotated[Size, hot("Bytes.", le=2**30)] = 1024
    ratio: Annotated[float, hot("Part.", ge=0, le=1)] = 0.5
    on: Annotated[bool, hot("Switch.")] = False
    names: Annotated[tuple[str, ...], hot("Names.", min_length=1)] = ("a",)
    level: Annotated[Literal["low", "high"], hot("Level.")] = "low"
    key: Annotated[Secret | None, hot("Key.")] = None

    def check(self, environment: str) -> Iterable[Problem]:
        """A small port and much room do not go together."""
        if self.port < self.room and self.port < 100:
            yield Problem(key="port", text="is below web.room", others=("room",))


class Schema(Section, frozen=True, kw_only=True):
    """The whole."""

    renamed: ClassVar[Mapping[str, str]] = {"web.timeout": "web.patience"}
    removed: ClassVar[Mapping[str, str]] = {"web.threads": "there are none any more"}

    web: Web = msgspec.field(default_factory=Web)
