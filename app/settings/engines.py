"""What the processes of the service share beside the store: leases and messages."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from app.settings.policies import EngineSafeguards
from astra_core.config import Duration, Problem, Section, Size, hot, restart

__all__ = ["Coordination", "Messaging", "engine_problem"]


class Coordination(Section, frozen=True, kw_only=True):
    """Who of all processes does what is done once for all: recording what time does to links, sending messages."""

    url: Annotated[
        str | None,
        restart(
            "`sqlite:PATH`, shared by the processes of one machine, or `memory:` for one process; "
            "null: `coordination.db` beside the store."
        ),
    ] = None
    ttl: Annotated[
        Duration,
        restart("A process that is gone is replaced after this time, within which its lease is renewed thrice.", ge=1),
    ] = 10.0
    deadline: Annotated[
        Duration,
        hot(
            "A lease that is not given or renewed within this time, with retries, is asked for again.",
            ge=0.01,
            le=60,
        ),
    ] = 1.0
    calls: EngineSafeguards = msgspec.field(default_factory=EngineSafeguards)

    def check(self, environment: str) -> Iterable[Problem]:
        """The URL names an engine that is built, and a renewal ends before the next one is due."""
        if self.url is not None and (text := engine_problem(self.url, "coordination.db")):
            yield Problem(key="url", text=text)
        if 3 * self.deadline >= self.ttl:
            text = "must be below a third of coordination.ttl, how often it is renewed; lower it, or raise that one"
            yield Problem(key="deadline", text=text, others=("ttl",))


class Messaging(Section, frozen=True, kw_only=True):
    """Where the events of links are published, for whoever wants to know of them; docs/fsm.md says what they hold."""

    url: Annotated[
        str | None,
        restart("`sqlite:PATH`, shared by the processes of one machine, or `memory:`; null: nothing is published."),
    ] = None
    messages_kept: Annotated[
        int, restart("Most messages of a topic that are kept for groups that lag behind.", ge=1, le=1_000_000_000)
    ] = 1_000_000
    bytes_kept: Annotated[Size, restart("Most bytes of a topic that are kept for them.", ge=1024)] = 256 * 1024**2
    deadline: Annotated[
        Duration,
        hot("Messages that are not published within this time, retries included, are sent again.", ge=0.01, le=60),
    ] = 5.0
    calls: EngineSafeguards = msgspec.field(default_factory=EngineSafeguards)

    def check(self, environment: str) -> Iterable[Problem]:
        """The URL names an engine that is built."""
        if self.url is not None and (text := engine_problem(self.url, "messages.db")):
            yield Problem(key="url", text=text)


def engine_problem(url: str, example: str) -> str:
    """Return what is wrong with the URL of an engine, without the URL in it; "" when it names one that is built."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest == ":memory:":
        return "write memory: for what is kept nowhere"
    if scheme == "sqlite" and rest.startswith("//"):
        return f"write sqlite:PATH without slashes for a host: sqlite:./data/{example} or sqlite:/var/lib/{example}"
    if scheme == "sqlite" and (not rest or rest.endswith("/") or not rest.isprintable()):
        return f"needs the path of a file after sqlite:, such as sqlite:./data/{example}"
    if scheme == "memory" and rest:
        return "write memory: with nothing after it"
    return "" if scheme in ("sqlite", "memory") and ":" in url else "must be sqlite:PATH or memory:"
