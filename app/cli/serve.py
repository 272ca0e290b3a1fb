"""`astra serve`: check what can be wrong, say it in one line each, then stay as the parent of the workers."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from app.cli.hypercorn_file import asks_for_tls
from app.cli.lines import say, say_problems
from app.cli.listener import ListenError, address, listen
from app.cli.supervisor import RestartPolicy, StartFailed, Supervisor
from app.settings import load_settings
from astra_core.errors import ConfigError, StorageError

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Mapping

    from app.settings import Settings

__all__ = ["Plan", "located", "overrides", "ready_line", "serve", "supervise", "without_credentials"]

CHILD = Path(__file__).with_name("child.py")
KILL_AFTER = 0.9  # seconds past the drain: the workers' own limit is 0.8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run: the settings and flags, decided."""

    protocol: str  # http1 or http2
    host: str
    port: int
    workers: int
    drain: float  # seconds
    backlog: int = 2_048
    keep_alive: float = 5.0  # seconds
    start_timeout: float = 60.0  # seconds
    store: str
    hypercorn: Path | None = None
    tls: bool = False
    app: str = "app:asgi"


def serve(options: argparse.Namespace) -> int:
    """Run the service and return the exit code: 2 settings, 1 store, address or workers, 0 told to stop."""
    environ = {**os.environ, **overrides(options)}
    try:
        settings = load_settings(environ).settings
        from app.main import check_store  # it imports every adapter: wrong settings are said without that
        from app.main.telemetry import install_logs

        plan = decide(settings, environ)
        logs = install_logs(settings.log)  # what the store has to say, such as that it is new, in the workers' form
        try:
            asyncio.run(check_store(settings))
        finally:
            logs.uninstall()
        listener = listen(plan.host, plan.port, backlog=plan.backlog)
        asyncio.run(supervise(plan, listener, environ))
    except ConfigError as error:
        return say_problems(error)
    except StorageError as error:
        say(f"store {without_credentials(plan.store)} cannot be opened: {error}")
        return 1
    except ListenError as error:
        say(str(error))
        return 1
    except StartFailed as error:
        say(f"cannot start: {error}")
        return 1
    return 0


def overrides(options: argparse.Namespace) -> dict[str, str]:
    """The flags as the environment variables of the same settings, so that parent and workers read one truth."""
    given = {"ASTRA_SERVER__HOST": options.host, "ASTRA_SERVER__PORT": options.port}
    given |= {"ASTRA_SERVER__WORKERS": options.workers, "ASTRA_SERVER__PROTOCOL": options.protocol}
    return {name: str(value) for name, value in given.items() if value is not None}


def decide(settings: Settings, environ: Mapping[str, str]) -> Plan:
    """What the settings come to; raises `ConfigError` if hypercorn's file cannot be used."""
    server = settings.server
    file = Path(environ.get("ASTRA_SETTINGS") or "settings") / "hypercorn.toml"
    found = file if server.protocol == "http2" and file.is_file() else None
    return Plan(
        protocol=server.protocol,
        host=server.host,
        port=server.port,
        workers=server.workers,
        drain=server.drain_timeout,
        backlog=server.backlog,
        keep_alive=server.keep_alive,
        start_timeout=server.start_timeout,
        store=settings.store.url,
        hypercorn=found,
        tls=found is not None and asks_for_tls(found),
    )


def ready_line(plan: Plan, port: int) -> str:
    """The one line that says where the service answers, and what it is."""
    scheme = "https" if plan.tls else "http"
    protocol = {"http1": "http/1.1", "http2": "http/2"}[plan.protocol]
    workers = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
    store = located(plan.store)
    return f"serving {scheme}://{address(plan.host, port)} ({protocol}, {workers}, store {store})"


def located(url: str) -> str:
    """`url` without user and password; a file by its whole path, so that it can be found from anywhere."""
    scheme, _, path = without_credentials(url).partition(":")
    return f"{scheme}:{Path(path).resolve() if scheme == 'sqlite' else path}"


def without_credentials(url: str) -> str:
    """`url` without user and password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


async def supervise(plan: Plan, listener: socket.socket, environ: Mapping[str, str]) -> None:
    """Run the workers of `plan` on `listener` until told to stop; raises `StartFailed`."""
    port: int = listener.getsockname()[1]
    supervisor = Supervisor(
        child_command(plan, listener.fileno()),
        workers=plan.workers,
        fds=(listener.fileno(),),
        environ={**environ, "ASTRA_SERVER__PORT": str(port)},
        stop_timeout=plan.drain + KILL_AFTER,
        on_ready=lambda: print(f"astra: {ready_line(plan, port)}", flush=True),
        say=say,
        policy=RestartPolicy(start_timeout=plan.start_timeout),
    )
    await supervisor.run()


def child_command(plan: Plan, fd: int) -> list[str]:
    """The command line of one worker. `-P` keeps the script's own folder off the import path."""
    command = [sys.executable, "-P", str(CHILD), "--protocol", plan.protocol]
    command += ["--listen", str(fd), "--drain", str(plan.drain), "--app", plan.app]
    command += ["--backlog", str(plan.backlog), "--keep-alive", str(plan.keep_alive)]
    if plan.hypercorn is not None:
        command += ["--config", str(plan.hypercorn)]
    return command
