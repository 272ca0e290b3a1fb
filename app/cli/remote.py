"""A service as a client of its API sees it: with the standard library, for nothing else here speaks HTTP."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlsplit

import msgspec

from app.api.models import ImportView
from app.cli.files import printable
from app.imports import Format, ImportState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Refused", "Remote", "Unreachable"]

_MEDIA = {Format.CSV: "text/csv", Format.NDJSON: "application/x-ndjson"}
_CHUNK = 256 * 1024
_TIMEOUT = 30.0
_OK = 300
_UNKNOWN = 404


class Unreachable(Exception):  # noqa: N818 - says what it is
    """The service does not answer; the text is one line."""


class Refused(Exception):  # noqa: N818 - says what it is
    """The service refused; the text is what it said."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class Remote:
    """The imports of the service at `url`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(400, f"{url}: name a service as http://host:port or https://host")
        self._url = url
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._where = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")

    def send(self, file: Path, kind: Format, sent: Callable[[int, int], object]) -> ImportView:
        """Upload a file; `sent` hears how much of it has gone."""
        try:
            with file.open("rb") as source:
                size = file.stat().st_size
                headers = {"content-type": _MEDIA[kind], "content-length": str(size)}
                path = f"/v1/imports?name={quote(printable(file.name)[:255], safe='')}"
                with self._call("POST", path, _Told(source, size, sent), headers) as response:
                    return _view(response)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise Refused(400, f"{error.filename}: {error.strerror}") from error

    def read(self, key: str) -> ImportView:
        """Look at an import."""
        with self._call("GET", f"/v1/imports/{quote(key, safe='')}") as response:
            return _view(response)

    def resume(self, key: str) -> ImportView:
        """Let an import go on, if it is paused."""
        try:
            view = self.read(key)
        except Refused as error:
            if error.status == _UNKNOWN:
                raise Refused(_UNKNOWN, f"no import has the id {key!r} at {self._url}: {error}") from error
            raise
        if view.state is not ImportState.PAUSED:
            return view
        with self._call("POST", f"/v1/imports/{quote(key, safe='')}/resume") as response:
            return _view(response)

    def report(self, key: str) -> Iterator[bytes]:
        """Yield the report of an import."""
        with self._call("GET", f"/v1/imports/{quote(key, safe='')}/report") as response:
            while chunk := response.read(_CHUNK):
                yield chunk

    @contextlib.contextmanager
    def _call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._kind(*self._where, timeout=_TIMEOUT)
        try:
            try:
                connection.request(method, self._prefix + path, body=body, headers=headers or {})
            except (BrokenPipeError, ConnectionResetError):
                if body is None:
                    raise  # else it refused the file before it had come, and its answer is there
            response = connection.getresponse()
            if response.status >= _OK:
                raise Refused(response.status, _detail(response))
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._url} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()


class _Told:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, size: int, sent: Callable[[int, int], object]) -> None:
        self._file = file
        self._size = size
        self._sent = sent
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        self._sent(self._read, self._size)
        data = self._file.read(_CHUNK if size < 0 else size)
        self._read += len(data)
        return data


def _view(response: http.client.HTTPResponse) -> ImportView:
    try:
        return msgspec.json.decode(response.read(), type=ImportView)
    except msgspec.MsgspecError as error:
        raise Refused(502, f"this is no service of Astra that knows imports: {error}") from error


def _detail(response: http.client.HTTPResponse) -> str:
    try:
        problem = msgspec.json.decode(response.read())
        return str(problem["detail"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return f"the service answered {response.status} {response.reason}"
