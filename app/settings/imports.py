"""Bulk imports: the files, the worker, and how much of the store it takes."""

from collections.abc import Iterable
from typing import Annotated

from astra_core.config import Duration, Problem, Section, Size, hot, restart

__all__ = ["Imports"]


class Imports(Section, frozen=True, kw_only=True):
    """Files of links, and the process that makes links of their rows; docs/imports.md explains it."""

    folder: Annotated[
        str,
        restart(
            "Folder of uploads, relative to the working directory or absolute; shared by the workers. "
            "Services may share it too: each store has a folder in it.",
            min_length=1,
        ),
    ] = "./data/imports"
    worker: Annotated[
        bool, restart("Start the worker with the service; false: run `astra worker` on this machine yourself.")
    ] = True
    max_file: Annotated[Size, hot("Largest file; more is refused with 413.", ge=1024, le=64 * 2**30)] = 2**30
    quota: Annotated[
        Size, hot("Most space for a store's uploads; a file that does not fit is refused with 507.", ge=1024)
    ] = 8 * 2**30
    uploads: Annotated[int, hot("Files that one server process receives at once.", ge=1, le=1_000)] = 4
    patience: Annotated[
        Duration, hot("An upload of which nothing comes for this long is refused with 408.", ge=0.1, le=600)
    ] = 10.0
    least_rate: Annotated[
        Size,
        hot(
            "An upload slower than so many bytes a second, over six times `patience`, is refused with 408; "
            "0: none is too slow.",
            le=2**30,
        ),
    ] = 1024
    keep: Annotated[
        Duration, hot("How long an import that is over, and its report, are kept.", ge=60, le=3650 * 86_400)
    ] = 7 * 86_400.0
    rows: Annotated[int, restart("Most rows in one commit.", ge=1, le=10_000)] = 1_000
    hold: Annotated[
        Duration,
        restart("How long a commit may keep the write lock; it takes as many rows as that allows.", ge=0.0005, le=1),
    ] = 0.003
    pause: Annotated[Duration, restart("Pause after each commit, for all others who write.", le=10)] = 0.0
    idle: Annotated[
        Duration, restart("A worker that the service started ends after this long without work.", ge=0.1, le=86_400)
    ] = 10.0

    def check(self, environment: str) -> Iterable[Problem]:
        """The folder holds at least one file."""
        if self.quota < self.max_file:
            text = "must not be below imports.max_file; raise it, or lower that one"
            yield Problem(key="quota", text=text, others=("max_file",))
