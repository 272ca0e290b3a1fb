"""One set-up for our code and the servers': real uvicorn and hypercorn, whose lines are all JSON once it stands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import logging
from astra_core.telemetry.logs import Logs

logs = Logs(format="json")

async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    logs.install()
    logging.getLogger("mine").info("installed\\nhere")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await logs.aclose()
    await send({"type": "lifespan.shutdown.complete"})
"""

SERVERS = {
    "uvicorn": ["uvicorn", "served:app", "--port", "0"],
    "hypercorn": ["hypercorn", "served:app", "--bind", "127.0.0.1:0", "-w", "0", "--access-logfile", "-"],
}


@pytest.mark.parametrize("server", SERVERS)
def test_every_line_after_the_set_up_is_json(server: str, tmp_path: Path) -> None:
    """The server's own start and end lines too."""
    (tmp_path / "served.py").write_text(APP)
    errors = tmp_path / "errors"
    environ = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"}
    with errors.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", *SERVERS[server]], stderr=stderr, env=environ, cwd=tmp_path)
        try:
            while "unning on" not in errors.read_text():
                assert process.poll() is None, errors.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            process.kill()
            process.wait()
    lines = errors.read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if "installed" in line)
    shown = [json.loads(line) for line in lines[first:]]
    assert shown[0]["message"] == "installed\nhere"
    names = {line["logger"] for line in shown[1:]}
    assert names == {f"{server}.error"}
