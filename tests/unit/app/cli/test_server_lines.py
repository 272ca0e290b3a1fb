"""Lines that strangers can have a server write."""

from __future__ import annotations

import logging

from app.cli.server_lines import ServerLines
from astra_core.testing import FakeClock


def test_invalid_requests_leave_a_line_now_and_then() -> None:
    """One in ten seconds, which tells how many came before it; advice that is not meant is never heard, the rest is."""
    clock, heard = FakeClock(), []
    lines = ServerLines(clock=clock)

    def say(text: str) -> None:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, text, None, None)
        if lines.filter(record):
            heard.append(record.getMessage())

    for _ in range(3):
        say("Invalid HTTP request received.")
    say("Unsupported upgrade request.")
    say("Something else.")
    clock.advance(10.0)
    for _ in range(2):
        say("Invalid HTTP request received.")
    clock.advance(10.0)
    say("Invalid HTTP request received.")
    invalid = "Invalid HTTP request received."
    assert heard == [invalid, "Something else.", f"{invalid} So were 2 before it.", f"{invalid} So were 1 before it."]
