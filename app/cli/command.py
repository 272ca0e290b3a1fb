"""The commands and their options. What a command does stands in its own module."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from astra_core import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["main"]

EXIT_CODES = """\
exit codes:
  0  stopped by SIGTERM or SIGINT
  1  the store, the address or the workers: something needed is not there
  2  the settings or the command line cannot be used

Settings come from the settings folder and from ASTRA_SECTION__KEY variables; options given here win over both."""

WORKER_EXIT_CODES = """\
exit codes:
  0  stopped by SIGTERM or SIGINT
  1  the store or the folder of imports is not there
  2  the settings cannot be used

Settings come from the settings folder and from ASTRA_SECTION__KEY variables."""

CODES_EXIT_CODES = """\
exit codes:
  0  the codes are skipped
  1  the store is not there
  2  the settings or the command line cannot be used
  130, 143  stopped by SIGINT, by SIGTERM: run it again"""

IMPORT_EXIT_CODES = """\
exit codes:
  0  every row has its link
  1  the store or the service is not there, the import failed as a whole or was cancelled, or its report was not written
  2  the settings, the command line or the file cannot be used
  3  done, and some rows failed: --report FILE says why, later too: --resume ID --report FILE
  4  paused: --resume ID lets it go on
  130, 143  stopped by SIGINT, by SIGTERM before there was an import; --server goes on with one that it has"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code it decided."""
    options = parser().parse_args(arguments)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # Until a server or a worker runs, an order to stop has nothing to wait for; what others promise is not done.
        signal.signal(signum, _leave if options.command in ("serve", "worker") else _break_off)
    if options.command == "settings":
        from app.cli.settings import settings  # `--help` needs none of it

        return settings(options)
    if options.command == "import":
        from app.cli.importing import import_file

        return import_file(options)
    if options.command == "worker":
        from app.cli.work import work

        return work(options)
    if options.command == "codes":
        from app.cli.codes import codes

        return codes(options)
    from app.cli.serve import serve

    return serve(options)


def parser() -> argparse.ArgumentParser:
    """The command line of Astra."""
    root = argparse.ArgumentParser(prog="astra", description="A URL shortener on the Astra library.")
    root.add_argument("--version", action="version", version=f"astra {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="check settings and store, then serve with restarts and orderly shutdown",
        description="Check settings and store, then run the service: uvicorn (HTTP/1.1) or hypercorn (HTTP/2) beneath\n"
        "this process, which restarts workers that die, passes signals on and decides the exit code.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    protocol = serve.add_mutually_exclusive_group()
    protocol.add_argument("--http1", dest="protocol", action="store_const", const="http1", help="HTTP/1.1, by uvicorn")
    protocol.add_argument("--http2", dest="protocol", action="store_const", const="http2", help="HTTP/2, by hypercorn")
    serve.add_argument("--workers", type=_count, metavar="N", help="worker processes (default: the settings' number)")
    serve.add_argument("--host", metavar="H", help="address or name to listen on")
    serve.add_argument("--port", type=_port, metavar="P", help="port to listen on; 0 takes a free one and prints it")
    _import(commands)
    commands.add_parser(
        "worker",
        help="carry imports out, where the service is told not to (imports.worker)",
        description="Carry imports out, one at a time, until told to stop. Waits while another process has the lease.",
        epilog=WORKER_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _codes(commands.add_parser("codes", help="skip codes after a store was restored from a backup"))
    _settings(commands.add_parser("settings", help="show, check and compare settings, without starting anything"))
    return root


def _import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "import",
        help="make links of the rows of a file, CSV or NDJSON",
        description="Make links of the rows of a file, into the store that the settings name or through a service.\n"
        "docs/imports.md says what a file holds.",
        epilog=IMPORT_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "file", nargs="?", metavar="FILE", help="the file; .csv, .tsv, .ndjson, .jsonl, or - for stdin"
    )
    command.add_argument("--server", metavar="URL", help="the service to send it to, such as https://exa.mp")
    command.add_argument("--format", choices=("csv", "ndjson"), help="instead of what the file's name says")
    command.add_argument("--report", metavar="FILE", help="where to write what became of each row")
    command.add_argument(
        "--resume", metavar="ID", help="go on with a paused import instead; of one that is over, write the --report"
    )


def _codes(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    advance = actions.add_parser(
        "advance",
        help="skip the codes that were given out since the backup",
        description="Skip the codes that a store gave out after the backup from which it was restored. Without that\n"
        "they would be given out again, and lead elsewhere. Run it before the service starts (docs/backup.md).",
        epilog=CODES_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    advance.add_argument(
        "--blocks",
        type=_blocks,
        default=1_000,
        metavar="N",
        help="how many blocks of codes.block codes: one for each start of a process since, and one for each"
        " codes.block links made since (default: %(default)s, of the 5.5 million that a region has)",
    )


def _settings(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print every effective value with where it came from; secrets as ***")
    show.add_argument("--json", action="store_true", help="as JSON")
    check = actions.add_parser("check", help="say everything that is wrong, and exit with 2 if anything is")
    check.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="files to check, later ones winning, without folder and variables (default: what serve would load)",
    )
    for action in (show, check):
        action.add_argument("--environment", metavar="ENV", help="instead of ASTRA_ENV")
    actions.add_parser("schema", help="print the JSON Schema of a settings file, for editors")
    diff = actions.add_parser("diff", help="print what two environments do not agree on")
    diff.add_argument("old", metavar="ENV1")
    diff.add_argument("new", metavar="ENV2")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 256")
    return int(text)


def _blocks(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _break_off(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)  # as a shell says it of one that the signal ended
