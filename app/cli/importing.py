"""`astra import`: a file of links into a service, or into the store that the settings name."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.api import REPORT_HEAD, view_of
from app.cli.files import STDIN, Unusable, check_report, check_source, printable
from app.cli.lines import say, say_problems
from app.cli.progress import ProgressShown
from app.cli.remote import Refused, Remote, Unreachable
from app.imports import Format, ImportState, InvalidImport, NoRoom, Pause, Resume, TooLarge, UnknownImport
from app.main.embedding import ImportLease
from app.main.importing import keep_working
from app.service import NotAllowed, Upload
from app.settings import load_settings
from app.worker import importing
from astra_core.clock import SystemClock
from astra_core.errors import AstraError, ConfigError

if TYPE_CHECKING:
    import argparse

    from app.api.models import ImportView
    from app.service import Importer, ImportManager, ImportSnapshot
    from app.settings import Settings

__all__ = ["import_file"]

_KINDS = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
}
_LOOK = 0.25
"""Seconds between two looks at the import."""
_OVER = (ImportState.DONE, ImportState.FAILED, ImportState.CANCELLED, ImportState.PAUSED)


class ReportLost(Exception):  # noqa: N818 - says what it is
    """All is done but the report, which could not be kept; the text says why."""

    def __init__(self, view: ImportView, reason: Exception | str) -> None:
        self.view = view
        super().__init__(str(reason))


def import_file(options: argparse.Namespace) -> int:
    """Import, and return the exit code."""
    try:
        kind = _kind(options)
        if options.report is not None:
            check_report(options.report, source=None if options.resume else options.file)
        view = _here(options, kind) if options.server is None else _through(options, kind)
    except ConfigError as error:
        return say_problems(error)
    except (Unusable, InvalidImport, TooLarge, UnknownImport, NotAllowed) as error:
        say(error.detail if isinstance(error, InvalidImport) else str(error))
        return 2
    except ReportLost as lost:
        _verdict(lost.view)
        say(f"{options.report}: the report was not written: {lost}; {_report_again(options, lost.view)}")
        return 1
    except Refused as error:
        say(str(error))
        return 1 if error.status >= 500 else 2
    except (AstraError, Unreachable, OSError) as error:
        say("the disk has no room for a copy of the file" if isinstance(error, NoRoom) else str(error))
        return 1
    code = _verdict(view)
    if view.failed:
        print("astra: the reasons are in", printable(options.report or f"the report; {_report_again(options, view)}"))
    return code


def _kind(options: argparse.Namespace) -> Format:
    if options.resume is not None:
        if options.file is not None:
            raise Unusable(f"--resume goes on with the file that the import has: leave {options.file} out")
        return Format.CSV  # the import knows its own
    if options.file is None:
        raise Unusable("name a file, or an import with --resume ID")
    if options.file == "-":
        options.file = STDIN
    check_source(options.file)
    if options.format is not None:
        return Format(options.format)
    suffix = Path(options.file).suffix.lower()
    if suffix not in _KINDS:
        raise Unusable(f"{options.file}: say what it is with --format csv or --format ndjson")
    return _KINDS[suffix]


def _report_again(options: argparse.Namespace, view: ImportView) -> str:
    """Say how to get the report of an import."""
    again = f"get it with --resume {view.id} --report FILE"
    if options.server is None:
        return again
    server = options.server.rstrip("/")
    return f"{again} --server {server}, or from {server}{view.report}"


def _verdict(view: ImportView) -> int:
    """Say how it ended, and return the exit code."""
    made = f"{view.created:,} links made, {view.reused:,} were there already, {view.failed:,} rows failed"
    match view.state:
        case ImportState.DONE:
            print(f"astra: import {view.id} is done: {made}")
            return 3 if view.failed else 0
        case ImportState.PAUSED:
            print(f"astra: import {view.id} is paused: {made}; go on with --resume {view.id}")
            return 4
        case _:
            print(f"astra: import {view.id} is {view.state}: {f'{view.reason} ({made})' if view.reason else made}")
            return 1


def _here(options: argparse.Namespace, kind: Format) -> ImportView:
    try:
        return asyncio.run(_directly(options, kind, load_settings(os.environ).settings))
    except SystemExit:
        say("stopped before there was an import to pause; nothing was imported")
        raise


async def _directly(options: argparse.Namespace, kind: Format, settings: Settings) -> ImportView:
    """Import into the store of the settings. Who holds the lease carries it out: a service here, or this process.

    Until there is an import, a signal ends the command; from then on it pauses that.
    """
    if settings.store.engine == "memory":
        raise Unusable("store.url is memory:, which ends with this command: set a store, or name a --server")
    clock = SystemClock()
    async with importing(settings, clock=clock) as importer:
        lease = ImportLease(importer.imports.spool.folder, clock=clock)
        snapshot = await _begun(options, kind, settings, importer.imports)
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await lease.open()
        carrying = asyncio.create_task(lease.leadership.run(lambda tenure: keep_working(importer, clock=clock)))
        try:
            snapshot = await _watched(importer, snapshot, carrying, stop)
        finally:
            carrying.cancel()
            await asyncio.wait((carrying,))
            await lease.close()
        view = view_of(snapshot)
        if options.report is not None:
            try:
                with open(options.report, "wb") as file:  # noqa: ASYNC230 - nothing else runs here
                    file.write(REPORT_HEAD if snapshot.about.report is Format.CSV else b"")
                    async for part in importer.imports.report(snapshot):
                        file.write(part)
            except (AstraError, OSError) as error:
                raise ReportLost(view, error) from error
        return view


async def _begun(
    options: argparse.Namespace, kind: Format, settings: Settings, imports: ImportManager
) -> ImportSnapshot:
    if options.resume is not None:
        snapshot = await imports.get(options.resume)
        return await imports.change(options.resume, Resume()) if snapshot.state is ImportState.PAUSED else snapshot
    file = Path(options.file)
    base = settings.links.base_url or f"http://{settings.server.host}:{settings.server.port}"
    upload = Upload(name=printable(file.name)[:255], kind=kind, report=kind, base=base.rstrip("/"))
    try:
        return await imports.adopt(upload, file)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise Unusable(f"{error.filename}: {error.strerror}") from error


async def _watched(
    importer: Importer, snapshot: ImportSnapshot, carrying: asyncio.Task[None], stop: asyncio.Event
) -> ImportSnapshot:
    """Show the import until it is over; `stop` pauses it."""
    shown = ProgressShown(sys.stderr, monotonic=time.monotonic)
    imports = importer.imports
    try:
        while snapshot.state not in _OVER:
            shown.show(view_of(snapshot))
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait((waiting, carrying), timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if carrying.done():
                carrying.result()
            if stop.is_set():
                return await imports.change(snapshot.key, Pause())
            snapshot = await imports.get(snapshot.key)
        shown.show(view_of(snapshot))
        return snapshot
    finally:
        shown.end()


def _through(options: argparse.Namespace, kind: Format) -> ImportView:
    """Import through the service at `options.server`; a signal leaves the import to it."""
    remote = Remote(options.server)
    shown = ProgressShown(sys.stderr, monotonic=time.monotonic)
    view: ImportView | None = None
    try:
        if options.resume is not None:
            view = remote.resume(options.resume)
        else:
            view = remote.send(Path(options.file), kind, shown.sending)
        while view.state not in _OVER:
            shown.show(view)
            time.sleep(_LOOK)
            view = remote.follow(view.id)
        shown.show(view)
    except (Refused, Unreachable) as error:
        if view is None:
            raise
        raise Unreachable(f"{error}; import {view.id} is there, {_resumed(remote, view)}") from error
    except SystemExit:
        shown.end()
        if view is None:
            say(f"stopped before the service had answered; what it has is at {remote.url}/v1/imports")
        else:
            say(f"stopped; the service goes on with import {view.id}, {_resumed(remote, view)}")
        raise
    finally:
        shown.end()
    if options.report is not None:
        try:
            with open(options.report, "wb") as file:
                file.writelines(remote.report(view.id))
        except (Refused, Unreachable, OSError) as error:
            raise ReportLost(view, error) from error
        except SystemExit:
            raise ReportLost(view, "the command was stopped") from None
    return view


def _resumed(remote: Remote, view: ImportView) -> str:
    return f"see it with --resume {view.id} --server {remote.url}"
