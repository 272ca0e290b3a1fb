"""What tells one run of the machine from another: its monotonic clock begins anew with each."""

from __future__ import annotations

from pathlib import Path

from astra_core.errors import CoordinationError

__all__ = ["boot_id"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the kernel's name for this boot. Raises `CoordinationError` where it cannot be read."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CoordinationError(f"{_BOOT_ID} cannot be read ({error.strerror}), so no lease can be trusted") from error
