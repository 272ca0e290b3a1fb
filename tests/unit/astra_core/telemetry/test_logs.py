"""Log lines: one a record, never in the way of the caller, and everything given back at the end."""

from __future__ import annotations

import json
import logging
import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.telemetry.log_format import JsonFormat, PrettyFormat
from astra_core.telemetry.log_line import STANDARD, line_of
from astra_core.telemetry.logs import Logs
from astra_core.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = logging.getLogger("tests.logs")
NAMES = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "hypercorn.error", "hypercorn.access", "hpack.hpack")


@contextmanager
def installed(path: Path, **options: Any) -> Iterator[Logs]:
    """Logs to a file, for as long as the block runs."""
    with path.open("a") as stream:
        logs = Logs(stream=stream, **{"format": "json"} | options)
        logs.install()
        try:
            yield logs
        finally:
            logs.uninstall()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, each parsed on its own."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_lines_come_in_order_with_their_fields(tmp_path: Path) -> None:
    """And a mutable argument is shown as it was at the call."""
    path, value = tmp_path / "log", [1]
    with installed(path) as logs:
        for number in range(1000):
            LOG.info("number %d", number, extra={"number": number})
        LOG.info("%s", value, extra={"value": value})
        value.append(2)
    lines = read(path)
    assert [line["number"] for line in lines[:-1]] == list(range(1000))
    assert (lines[-1]["message"], lines[-1]["value"]) == ("[1]", [1])
    assert logs.lines["info"] == 1001
    assert logs.dropped == 0


@given(
    st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.floats() | st.binary(), max_size=5)
)
def test_no_text_forges_a_line_or_a_field(message: str, extra: dict[str, Any]) -> None:
    """Whatever stands in a message or in a field, its name too: one line, whose standard fields are ours."""
    record = logging.makeLogRecord({"name": "ours", "levelno": 20, "msg": message})
    record.__dict__.update({name: value for name, value in extra.items() if name not in record.__dict__})
    line = line_of(record, 0.0)
    text = JsonFormat(Redactor(names=(), patterns=())).encode(line)
    shown = json.loads(text)
    assert text.endswith("\n")
    assert text[:-1].isascii()
    assert text[:-1].isprintable()
    assert (shown["time"], shown["level"], shown["logger"]) == ("1970-01-01T00:00:00.000000Z", "info", "ours")
    assert shown.keys() & {"request_id", "trace_id", "span_id", "exception"} == set()
    pretty = PrettyFormat(Redactor(names=(), patterns=())).encode(line)
    assert pretty[:-1].isprintable()
    assert pretty.startswith("1970-01-01T00:00:00.000000Z INFO     ours ")


@pytest.mark.parametrize("message", ["ok status=200", 'ok" status', "", "a\\nb", "a\nb", "a\x1b[31m", "a\u2028b"])
def test_a_pretty_message_that_could_be_read_otherwise_is_quoted(message: str) -> None:
    """A field begins where the message ends, and nowhere else."""
    record = logging.makeLogRecord({"name": "ours", "levelno": 20, "msg": message, "status": "500 x"})
    text = PrettyFormat(Redactor()).encode(line_of(record, 0.0))
    body = text.split(maxsplit=3)[3]
    found, end = json.JSONDecoder().raw_decode(body) if body.startswith('"') else (message, len(message))
    assert found == message
    assert body[end:] == ' status="500 x"\n'


@given(st.text())
def test_a_pretty_stack_stands_below_its_line_and_forges_none(words: str) -> None:
    """Each of its lines behind a mark, whatever the words of the error are; secrets in it are hidden."""
    try:
        raise ValueError(words + " password=hunter2")
    except ValueError as error:
        record = logging.makeLogRecord({"name": "ours", "levelno": 40, "msg": "it failed"})
        record.exc_info = (type(error), error, error.__traceback__)
    first, *below = PrettyFormat(Redactor()).encode(line_of(record, 0.0)).removesuffix("\n").split("\n")
    assert first.endswith(" it failed")
    assert below[0] == "    | Traceback (most recent call last):"
    assert all(line.startswith("    | ") and line.isprintable() for line in below)
    assert "hunter2" not in "".join(below[-1:])


def test_extra_fields_do_not_replace_ours(tmp_path: Path) -> None:
    """They go beside, under another name."""
    path = tmp_path / "log"
    names = STANDARD - {"message"}  # logging itself refuses that one
    with installed(path):
        LOG.info("real", extra=dict.fromkeys(names, "forged"))
    (line,) = read(path)
    assert line["message"] == "real"
    assert [line[f"extra_{name}"] for name in names] == ["forged"] * len(names)
    assert {line[name] for name in ("time", "level", "logger")} & {"forged"} == set()


def test_what_is_too_long_is_cut() -> None:
    """Messages, values, fields and depth are bounded, and what is missing is told."""
    nested: list[Any] = []
    nested.append(nested)
    extra = {f"f{number}": number for number in range(100)}
    record = logging.makeLogRecord({"msg": "x" * 9000, "levelno": 20, "nested": nested, "huge": 10**5000, **extra})
    line = json.loads(JsonFormat(Redactor()).encode(line_of(record, 0.0)))
    assert line["message"].endswith("…(+808)")
    assert line["nested"] == [[[["…"]]]]
    assert len(line) < 75
    assert line["fields_left_out"] == 38


def test_an_output_that_nobody_reads_costs_lines_and_no_time() -> None:
    """The queue fills, what comes then is dropped and counted, and a line tells it when there is room again."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        logs = Logs(format="json", queue=100, stream=stream)
        logs.install()
        for number in range(2000):
            LOG.info("%d %s", number, "x" * 1000)
        dropped, queued = logs.dropped, logs.queued
        assert dropped > 0
        assert queued <= 100
        assert not logs.close(0.05)
        got: list[bytes] = []
        while sum(line.count(b"\n") for line in got) < 2000 - dropped + 1:
            got.append(os.read(reader.fileno(), 65536))
        logs.uninstall()
    lines = [json.loads(line) for line in b"".join(got).splitlines()]
    assert sum(line.get("dropped", 0) for line in lines) == dropped
    assert len([line for line in lines if line["logger"] == LOG.name]) == 2000 - dropped


def test_a_broken_output_never_raises() -> None:
    """EPIPE is counted, and so are the lines."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        logs = Logs(format="json", stream=stream)
        logs.install()
        LOG.error("lost")
        logs.uninstall()
    assert logs.failed >= 1
    assert logs.dropped == 1


def test_uninstall_gives_everything_back(tmp_path: Path) -> None:
    """Handlers, filters, levels, propagation and warnings of every logger that was touched."""
    own = logging.NullHandler()
    server = logging.getLogger("uvicorn.error")
    server.addHandler(own)
    server.propagate = False
    try:
        before = [_state(name) for name in NAMES]
        shown = warnings.showwarning
        with installed(tmp_path / "log"):
            assert [_state(name) for name in NAMES] != before
        assert [_state(name) for name in NAMES] == before
        assert warnings.showwarning is shown
    finally:
        server.removeHandler(own)
        server.propagate = True


def _state(name: str) -> tuple[Any, ...]:
    logger = logging.getLogger(name)
    return list(logger.handlers), list(logger.filters), logger.level, logger.propagate


def test_servers_log_through_us(tmp_path: Path) -> None:
    """Also with a handler that they add later, as hypercorn does; their access lines are dropped."""
    path, late = tmp_path / "log", logging.FileHandler(tmp_path / "late")
    with installed(path):
        for name in ("hypercorn.error", "hypercorn.access"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [late], False
            logger.setLevel("INFO")
            logger.info("from %s", name)
        told = logging.getLogger("uvicorn.error")
        for level in ("INFO", "WARNING"):  # a server that was told to be quiet stays so
            told.setLevel(level)
            told.info("from uvicorn at %s", level)
        logging.getLogger("uvicorn.access").info("an access line")
    late.close()
    assert [line["message"] for line in read(path)] == ["from hypercorn.error", "from uvicorn at INFO"]
    assert (tmp_path / "late").read_text() == ""


def test_headers_of_callers_are_not_told_at_debug(tmp_path: Path) -> None:
    """What decodes the headers of HTTP/2 would tell each of them; its warnings are heard where those are asked."""
    path, hpack = tmp_path / "log", logging.getLogger("hpack.hpack")
    with installed(path, level="debug") as logs:
        hpack.debug("Decoded (b'authorization', b'Bearer very-secret')")
        LOG.debug("heard")
        hpack.warning("heard too")
        logs.configure(level="error")
        hpack.warning("not asked for")
    assert [line["message"] for line in read(path)] == ["heard", "heard too"]


def test_level_and_format_change_while_it_runs(tmp_path: Path) -> None:
    """Without a restart, and refusing what does not exist."""
    path = tmp_path / "log"
    with installed(path, level="warning") as logs:
        LOG.info("unseen")
        logs.configure(level="debug")
        LOG.debug("seen")
        logs.close()
        logs.configure(format="pretty")
        LOG.info("last words")
        with pytest.raises(ValueError, match="one of"):
            logs.configure(level="loud")
    first, last = path.read_text().splitlines()
    assert json.loads(first)["message"] == "seen"
    assert last.endswith("last words")


def test_debug_is_for_own_loggers_alone(tmp_path: Path) -> None:
    """Libraries are heard from info on, at debug too; at other levels, and in the end, nobody is special."""
    path, library = tmp_path / "log", logging.getLogger("library.part")
    with installed(path, level="debug", own=("tests",)) as logs:
        library.debug("unheard")
        library.info("library")
        LOG.debug("own")
        logging.getLogger("uvicorn.error").debug("unheard, of a server")
        logs.configure(level="warning")
        LOG.info("unheard")
        library.warning("library warns")
        logs.configure(level="debug")
        LOG.debug("own again")
        library.debug("unheard again")
    assert [line["message"] for line in read(path)] == ["library", "own", "library warns", "own again"]
    assert logging.getLogger("tests").level == logging.NOTSET


def test_secrets_are_hidden_everywhere(tmp_path: Path) -> None:
    """In the message, in fields by name, nested ones too, and in an exception with its stack."""
    path = tmp_path / "log"
    with installed(path):
        try:
            raise ValueError("cannot connect to mongodb://astra:hunter2@db/x")
        except ValueError:
            LOG.exception(
                "password=hunter2",
                extra={"api_key": "hunter2", "at": {"Set-Cookie": ["hunter2"]}, "pairs": [(b"cookie", b"hunter2")]},
            )
    assert "cannot connect to mongodb://***@db/x" in path.read_text()
    assert "hunter2" not in path.read_text()
