"""What can go wrong on a network, as values: `FaultProxy` does what they say."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["FAULTLESS", "Faults", "Flow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What happens to the bytes of one direction; the default is nothing.

    `latency` and up to `jitter` more (seconds, drawn anew for each piece, order kept) pass before bytes are handed on,
    at most `bandwidth` of them a second. `blackhole` keeps them back without a word: nothing is lost, and they go on
    when it ends. Once `close_after` bytes went through a connection under this value, it is closed at both ends, in the
    middle of whatever it was saying.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float | None = None
    blackhole: bool = False
    close_after: int | None = None

    def __post_init__(self) -> None:
        if self.latency < 0 or self.jitter < 0 or (self.close_after or 0) < 0:
            raise ValueError(f"latency, jitter and close_after are 0 or more: {self}")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError(f"a bandwidth is above 0, or None: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong between clients and a server now; the default is nothing. Faults add up.

    `up` is the way from client to server, `down` the way back.

    * `refuse`: the port is closed, a new connection is refused. Connections that live go on.
    * `reset`: connections that live are torn with RST at once, new ones as soon as they are accepted.
    * `hang`: half-open. New connections are accepted, bytes are swallowed, nobody answers, nothing is closed. When it
      ends, connections that lost bytes are torn with RST, as by a host that came back and does not know them.

    >>> Faults(down=Flow(latency=0.2, jitter=0.1))  # a slow server
    >>> Faults(refuse=True, reset=True)  # a server that died
    >>> Faults(up=Flow(blackhole=True), down=Flow(blackhole=True))  # a cable pulled out, for a while
    """

    up: Flow = field(default_factory=Flow)
    down: Flow = field(default_factory=Flow)
    refuse: bool = False
    reset: bool = False
    hang: bool = False


FAULTLESS = Faults()
"""Nothing is wrong."""
