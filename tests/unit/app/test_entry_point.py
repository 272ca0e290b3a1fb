"""The name that servers load."""

from __future__ import annotations

import subprocess
import sys

_LOOK = """
import sys, app
print(app.asgi, callable(app.asgi), "app.main" in sys.modules, "starlette" in sys.modules)
"""


def test_importing_the_application_builds_nothing() -> None:
    """`app.asgi` is there, and neither the composition root nor the framework was loaded for it."""
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["<app.asgi>", "True", "False", "False"]
