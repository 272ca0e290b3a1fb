"""Events of settings that are read again while the process runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SettingsRefused", "SettingsReloaded", "SettingsUnchanged"]


@dataclass(frozen=True, slots=True)
class SettingsReloaded:
    """New settings are in force, the `version`-th of this process; who or what asked for them is the `source`.

    `changes` has a line for each key, `cache.ttl: 5s -> 10s`, with secrets masked. `pending` names the keys that differ
    in the sources but wait for a restart.
    """

    source: str
    version: int
    old_checksum: str
    new_checksum: str
    changes: tuple[str, ...]
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsRefused:
    """What `source` brought cannot be used, for these `problems`; the settings of `checksum` stay in force.

    `again` says that the last refusal was for the very same problems.
    """

    source: str
    checksum: str
    problems: tuple[str, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class SettingsUnchanged:
    """The settings were read again and are those in force, of `checksum`; `pending` keys wait for a restart."""

    source: str
    checksum: str
    pending: tuple[str, ...] = ()
