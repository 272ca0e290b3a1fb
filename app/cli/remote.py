"""A service as a client of its API sees it: with the standard library, for nothing else here speaks HTTP."""

from __future__ import annotations

import contextlib
import http.client
import time
from random import Random
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from app.api.models import ImportView
from app.cli.files import printable
from app.imports import Format, ImportState
from astra_core.resilience import EqualJitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Refused", "Remote", "Unreachable"]

_MEDIA = {Format.CSV: "text/csv", Format.NDJSON: "application/x-ndjson"}
_CHUNK = 256 * 1024
_TIMEOUT = 30.0
_OK = 300
_UNKNOWN = 404
_AWAY = frozenset({429, 500, 502, 503, 504})
"""What a service answers, or a proxy before it, while it restarts or has too much to do."""
_PATIENCE = 60.0
"""Seconds without an answer after which a service is not restarting but away."""
_BACKOFF = EqualJitter(base=0.25, cap=5.0)


class Unreachable(Exception):  # noqa: N818 - says what it is
    """The service does not answer; the text is one line."""


class Refused(Exception):  # noqa: N818 - says what it is
    """The service refused; the text is what it said. It asked to be left alone for `retry_after` seconds."""

    def __init__(self, status: int, detail: str, *, retry_after: float = 0.0) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(detail)


class Remote:
    """The imports of the service at `url`. Raises `Refused` for what is no URL of a service."""

    def __init__(
        self,
        url: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        random: Random | None = None,
    ) -> None:
        parts = _parts(url)
        self.url = url.rstrip("/")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._where = parts.hostname or "", parts.port
        self._prefix = parts.path.rstrip("/")
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random or Random()  # noqa: S311 - jitter

    def send(self, file: Path, kind: Format, sent: Callable[[int, int], object]) -> ImportView:
        """Upload a file; `sent` hears how much of it has gone."""
        try:
            with file.open("rb") as source:
                headers, size = {"content-type": _MEDIA[kind]}, 0
                if file.is_file():  # else it goes in chunks, and ends when it ends
                    size = file.stat().st_size
                    headers["content-length"] = str(size)
                path = f"/v1/imports?name={quote(printable(file.name)[:255], safe='')}"
                with self._call("POST", path, _Told(source, size, sent), headers) as response:
                    return _view(response)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise Refused(400, f"{error.filename}: {error.strerror}") from error

    def read(self, key: str) -> ImportView:
        """Look at an import."""
        with self._call("GET", f"/v1/imports/{quote(key, safe='')}") as response:
            return _view(response)

    def follow(self, key: str) -> ImportView:
        """Look at an import that is there; a service that may be restarting is asked for 60 s until it answers."""
        end = self._monotonic() + _PATIENCE
        tries = 0
        while True:
            try:
                return self.read(key)
            except (Refused, Unreachable) as error:
                left = end - self._monotonic()
                asked = error.retry_after if isinstance(error, Refused) else 0.0
                if left <= 0 or (isinstance(error, Refused) and error.status not in _AWAY):
                    raise
            tries += 1
            self._sleep(min(left, max(asked, _BACKOFF.delay(tries, 0.0, self._random))))

    def resume(self, key: str) -> ImportView:
        """Let an import go on, if it is paused."""
        try:
            view = self.read(key)
        except Refused as error:
            if error.status == _UNKNOWN:
                raise Refused(_UNKNOWN, f"no import has the id {key!r} at {self.url}: {error}") from error
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
                asked = response.headers.get("retry-after", "")
                retry_after = float(asked) if asked.isascii() and asked.isdigit() else 0.0
                raise Refused(response.status, _detail(response), retry_after=retry_after)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.url} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()


def _parts(url: str) -> SplitResult:
    """Return the parts of the URL of a service. Raises `Refused`, without the URL, which may hold a password."""
    fault = ""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            fault = "is no URL of a service"
        elif parts.username is not None:
            fault = "takes no user and password"
        elif "?" in url or "#" in url:
            fault = "takes no query and no fragment"
        elif not url.isprintable() or " " in url or not parts.path.isascii():
            fault = "holds a character that no URL may"
    except ValueError:  # a port, an address or a name that cannot be one; UnicodeError of a name is one too
        fault = "is no URL of a service"
    if fault:
        raise Refused(400, f"--server {fault}: name it as http://host:port or https://host")
    return parts


class _Told:
    """A file that tells how much of it was read; the `size` of a pipe is 0, as it is not known before."""

    def __init__(self, file: BinaryIO, size: int, sent: Callable[[int, int], object]) -> None:
        self._file = file
        self._size = size
        self._sent = sent
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        self._sent(self._read, self._size or self._read)
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
