"""The files that `astra import` is given: looked at before anything is made of them, so that no work is lost."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["STDIN", "Unusable", "check_report", "check_source", "printable"]

STDIN = "/dev/stdin"
_OPEN = (Path("/dev/fd"), Path("/proc/self/fd"))
"""Folders of what this process was given open, such as a shell's `<(command)`."""


class Unusable(Exception):  # noqa: N818 - says what it is
    """What the command line asks for cannot be done; the text is one line."""


def printable(name: str) -> str:
    """Return a file's name as it can be shown and sent; it may hold bytes that are not UTF-8, or a line feed."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)


def check_source(name: str) -> None:
    """Raise `Unusable` for what is no file to import."""
    path = Path(name)
    if path.is_dir():
        raise Unusable(f"{name} is a directory: name a file of links")
    if not path.exists():
        raise Unusable(f"{name}: there is no such file")
    if not path.is_file() and name != STDIN and path.parent not in _OPEN:  # to open a pipe waits for whoever writes it
        raise Unusable(f"{name} is no regular file; give what it holds to standard input, and name - as the file")


def check_report(name: str, *, source: str | None) -> None:
    """Raise `Unusable` when no report can be written to this file; whatever it holds stays until one is."""
    path = Path(name)
    there = path.exists()
    if there and source is not None and path.samefile(source):
        raise Unusable(f"--report {name} is the file to import: name another")
    if there and not path.is_file() and not path.is_dir():
        return  # a pipe or a device: to open it is to begin
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise Unusable(f"--report {name} cannot be written: {error.strerror}") from error
    if not there:
        path.unlink(missing_ok=True)
