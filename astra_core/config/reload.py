"""New settings in a running process: a candidate is loaded from scratch, checked whole, and swapped in, or not at all.

The steps, as in Envoy's and HAProxy's hitless reloads: load → validate → compare what needs a restart → prepare → swap
→ tell. Whatever fails on the way changes nothing, and the last good settings serve on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from astra_core.config.explain import differences
from astra_core.config.resolve import Loaded, hold_back
from astra_core.config.schema import Section
from astra_core.errors import AstraError, ConfigError
from astra_core.events import SettingsRefused, SettingsReloaded, SettingsUnchanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from astra_core.clock import Clock
    from astra_core.events import Listener

__all__ = ["Reloader"]

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Section)


class Reloader(Generic[T]):
    """Holds the settings in force, and swaps them.

    `load` reads and checks a candidate; it blocks, so it is given to `run`, which calls it in a thread. `prepare` makes
    of a candidate everything that its taking needs, and returns a function that takes it: that one must neither raise
    nor wait, so nobody ever meets half of it. A candidate that changes a key which needs a restart is refused with the
    name of that key, or, with `restart_keys="pending"`, taken without it.

    `version` counts the settings that were in force in this process, from 1. Counts for metrics: `applied`, `refused`
    and `unchanged` candidates; `last_success` is the wall time, in seconds since the epoch, at which the sources were
    last seen to be good.
    """

    def __init__(
        self,
        loaded: Loaded[T],
        *,
        load: Callable[[], Loaded[T]],
        prepare: Callable[[T], Callable[[], None]],
        run: Callable[[Callable[[], Any]], Awaitable[Any]],
        listener: Listener,
        clock: Clock,
        restart_keys: Literal["refuse", "pending"] = "refuse",
    ) -> None:
        self.loaded = loaded
        self.version = 1
        self.pending: tuple[str, ...] = ()
        self.problems: tuple[str, ...] = ()
        """Why the last candidate was refused; empty when it was good."""
        self.restart_keys = restart_keys
        self.applied = 0
        self.refused = 0
        self.unchanged = 0
        self.last_success = clock.time()
        self._load = load
        self._prepare = prepare
        self._run = run
        self._tell = listener
        self._clock = clock
        self._turn = asyncio.Lock()

    async def reload(self, source: str) -> bool:
        """Read the sources again, because of `source`, and put what they say in force; returns whether it is now.

        Raises nothing that is wrong with the candidate: that is told, as `SettingsRefused`.
        """
        async with self._turn:
            try:
                found: Loaded[T] = await self._run(self._load)
                candidate, pending = self._admit(found)
                take = self._prepare(candidate.settings)
            except ConfigError as error:
                return self._refuse(source, error.problems)
            except (AstraError, OSError, TimeoutError) as error:
                return self._refuse(source, (f"the settings could not be read: {_words(error)}",))
            except ValueError as error:
                return self._refuse(source, (f"the settings do not go together: {error}",))
            except Exception as error:  # a fault of ours, which must not end who asks for ever
                logger.exception("reading the settings, asked by %s", source)
                return self._refuse(source, (f"the settings could not be read: {error!r}",))
            self._swap(source, candidate, pending, take)
            return True

    def missed(self, source: str, error: Exception) -> None:
        """Tell that what `source` brings is not known just now, because of `error`, as of a candidate refused."""
        self._refuse(source, (f"the settings could not be looked at: {_words(error)}",))

    def _admit(self, found: Loaded[T]) -> tuple[Loaded[T], tuple[str, ...]]:
        candidate, pending = hold_back(found, self.loaded)
        if pending and self.restart_keys == "refuse":
            raise ConfigError(
                [f"{name} ({found.where(name)}): needs a restart; put the old value back" for name in pending]
            )
        return candidate, pending

    def _refuse(self, source: str, problems: tuple[str, ...]) -> bool:
        again, self.problems = problems == self.problems, problems
        self.refused += 1
        self._tell(SettingsRefused(source, self.loaded.checksum, problems, again))
        return False

    def _swap(self, source: str, new: Loaded[T], pending: tuple[str, ...], take: Callable[[], None]) -> None:
        old, self.problems = self.loaded, ()
        self.last_success = self._clock.time()
        self.pending = pending
        changes = tuple(
            f"{change.key}: {change.old} -> {change.new}" for change in differences(old.settings, new.settings)
        )
        if not changes:
            self.unchanged += 1
            self._tell(SettingsUnchanged(source, old.checksum, pending))
            return
        take()
        self.loaded = new
        self.version += 1
        self.applied += 1
        self._tell(SettingsReloaded(source, self.version, old.checksum, new.checksum, changes, pending))

    def __repr__(self) -> str:
        return f"<Reloader version={self.version} checksum={self.loaded.checksum} refused={self.refused}>"


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
