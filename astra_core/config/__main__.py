"""`python -m astra_core.config MODULE:SCHEMA` writes the page of that schema's settings to standard output."""

from __future__ import annotations

import importlib
import sys

from astra_core.config.describe import markdown


def main(arguments: list[str]) -> int:
    """Write the page for the schema that `arguments` names; 2 when it names none."""
    if len(arguments) != 1 or ":" not in arguments[0]:
        sys.stderr.write("usage: python -m astra_core.config MODULE:SCHEMA\n")
        return 2
    module, _, name = arguments[0].partition(":")
    sys.stdout.write(markdown(getattr(importlib.import_module(module), name), source=arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
