"""How settings are read again while the process runs."""

from typing import Annotated, Literal

from astra_core.config import Duration, Section, restart

__all__ = ["Reload"]


class Reload(Section, frozen=True, kw_only=True):
    """Reading the settings again without a restart; see "While it runs" above."""

    watch: Annotated[bool, restart("Read the settings again when their files change; without it on SIGHUP alone.")] = (
        True
    )
    poll_interval: Annotated[
        Duration, restart("How often the files are compared, where the file system tells nothing.", ge=0.1, le=3_600)
    ] = 5.0
    restart_keys: Annotated[
        Literal["refuse", "pending"],
        restart(
            "A change of a key that needs a restart: `refuse` the whole, or take the rest and keep the key `pending`."
        ),
    ] = "refuse"
