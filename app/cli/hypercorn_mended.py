"""A fault of hypercorn 0.18, mended from outside: data of a request that is answered already ended its connection.

An answer that comes before the request's body has arrived (413, 415, 503, …) closes its stream; the next part of that
body is then looked for among the streams (https://github.com/pgjones/hypercorn/issues/329), and with the `KeyError` all
other requests of the connection are gone. A client, or a stranger behind the same proxy, can do that at will.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["mend"]


def mend() -> None:
    """Have hypercorn let such data pass; what it takes of the connection's window is given back."""
    from h2.events import DataReceived
    from hypercorn.protocol.h2 import H2Protocol

    handle = H2Protocol._handle_events  # noqa: SLF001 - the one place, until a release of hypercorn has it

    async def handle_events(self: Any, events: Sequence[Any]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            else:
                await handle(self, [event])
        await handle(self, [])  # sends what is to be sent

    H2Protocol._handle_events = handle_events  # type: ignore[method-assign] # noqa: SLF001
