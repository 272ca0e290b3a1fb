"""What is refused of an import as a whole; a bad row refuses itself alone and is no error here."""

from __future__ import annotations

from astra_core.errors import AstraError

__all__ = ["InvalidImport", "NoRoom", "TooLarge", "TooManyUploads", "UnknownImport", "UploadBroken", "UploadLate"]


class InvalidImport(AstraError):  # noqa: N818 - says what it is
    """The file cannot be read as links, from its first line on; `detail` says what to change."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class TooLarge(AstraError):  # noqa: N818 - says what it is
    """The file has more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes")


class NoRoom(AstraError):  # noqa: N818 - says what it is
    """The disk is full, or the folder's quota (`limit` bytes) is used up; nothing of the file is kept."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        super().__init__("the disk is full" if limit is None else f"the folder may hold {limit} bytes")


class TooManyUploads(AstraError):  # noqa: N818 - says what it is
    """`limit` files are being received already."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} uploads at once")


class UploadBroken(AstraError):  # noqa: N818 - says what it is
    """The sender left before the file had arrived; nothing of it is kept."""


class UploadLate(AstraError):  # noqa: N818 - says what it is
    """Nothing of the file, or no more than `size` bytes, came for `seconds`; nothing of it is kept."""

    def __init__(self, seconds: float, size: int = 0) -> None:
        self.seconds = seconds
        self.size = size
        super().__init__(f"{size or 'nothing'} came for {seconds:.3g} s")


class UnknownImport(AstraError):  # noqa: N818 - says what it is
    """No import has this id."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"no import has the id {key!r}")
