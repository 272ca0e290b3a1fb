"""The handlers of `/v1/imports`: files in, progress and reports out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.api.answers import json_answer
from app.api.import_rows import REPORT_HEAD
from app.api.models import ImportItems, ImportView
from app.api.problems import refuse
from app.api.streams import Stream
from app.api.times import from_microseconds
from app.imports import Cancel, Format, Pause, Resume
from app.service import Upload
from astra_core.resilience import current_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from app.api.links import PageLimits
    from app.api.views import ShortUrls
    from app.imports import ImportEvent
    from app.service import ImportManager, ImportSnapshot
    from astra_core.asgi import ASGIApp, Receive, Response

__all__ = ["REPORT_MEDIA", "UPLOAD_MEDIA", "ImportApi", "view_of"]

_KINDS = {
    "text/csv": Format.CSV,
    "application/x-ndjson": Format.NDJSON,
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
}
UPLOAD_MEDIA = tuple(_KINDS)
REPORT_MEDIA = {Format.CSV: "text/csv", Format.NDJSON: "application/x-ndjson"}
_SEND = "Send the file itself as the body, as text/csv or application/x-ndjson, and say so in Content-Type"
_NAME_LENGTH = 255


class ImportApi:
    """One method an operation. `wake` is called when there may be something to do for a worker."""

    def __init__(
        self,
        imports: ImportManager,
        short_urls: ShortUrls,
        *,
        pages: PageLimits,
        wake: Callable[[], object],
    ) -> None:
        self._imports = imports
        self._short_urls = short_urls
        self.pages = pages
        self._wake = wake
        self._encode = msgspec.json.Encoder().encode

    async def create(self, request: Request) -> Response:
        """`POST /v1/imports`."""
        upload = self._upload(request)
        deadline = current_deadline()
        if deadline is not None:
            deadline.lift()  # a gigabyte takes its time; the file's next bytes have a deadline of their own
        snapshot = await self._imports.begin(upload, _Body(request.receive).read)
        self._wake()
        location = (b"location", f"/v1/imports/{snapshot.key}".encode())
        return json_answer(201, self._encode(view_of(snapshot)), location)

    async def index(self, request: Request) -> Response:
        """`GET /v1/imports`."""
        query = request.query_params
        limit = query.get("limit", str(self.pages.page))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= self.pages.max_page):
            raise refuse(422, f"limit: must be a whole number from 1 to {self.pages.max_page}.")
        page = await self._imports.page(cursor=query.get("cursor"), limit=int(limit))
        items = [view_of(item) for item in page.items]
        return json_answer(200, self._encode(ImportItems(items=items, next_cursor=page.next_cursor)))

    async def read(self, request: Request) -> Response:
        """`GET /v1/imports/{id}`."""
        return self._answer(await self._imports.get(request.path_params["id"]))

    async def pause(self, request: Request) -> Response:
        """`POST /v1/imports/{id}/pause`."""
        return await self._send(request, Pause())

    async def resume(self, request: Request) -> Response:
        """`POST /v1/imports/{id}/resume`."""
        return await self._send(request, Resume())

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/imports/{id}/cancel`."""
        response = await self._send(request, Cancel())
        await self._imports.spool.drop(request.path_params["id"])
        return response

    async def report(self, request: Request) -> ASGIApp:
        """`GET /v1/imports/{id}/report`: of the rows done so far."""
        snapshot = await self._imports.get(request.path_params["id"])
        kind = snapshot.about.report
        head = REPORT_HEAD if kind is Format.CSV else b""
        name = f'attachment; filename="import-{snapshot.key}.{kind.value}"'
        headers = (
            (b"content-type", REPORT_MEDIA[kind].encode()),
            (b"content-disposition", name.encode()),
            (b"content-length", str(len(head) + snapshot.progress.report).encode()),
            (b"cache-control", b"no-store"),
        )
        return Stream(head, self._imports.report(snapshot), headers)

    def _upload(self, request: Request) -> Upload:
        """Return what the request tells of its file before it comes."""
        headers = dict(request.scope["headers"])
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        if media not in _KINDS:
            raise refuse(415, f"{_SEND}.", header=("accept-post", ", ".join(UPLOAD_MEDIA)))
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise refuse(415, "Send the file without Content-Encoding.", header=("accept-encoding", "identity"))
        declared = headers.get(b"content-length", b"")
        report = request.query_params.get("report", _KINDS[media].value)
        if report not in set(Format):
            raise refuse(422, f"report: must be one of {', '.join(Format)}.")
        name = request.query_params.get("name", "")
        if len(name) > _NAME_LENGTH or not name.isprintable():
            raise refuse(422, f"name: must be at most {_NAME_LENGTH} printable characters.")
        return Upload(
            name=name,
            kind=_KINDS[media],
            report=Format(report),
            base=self._short_urls.base(request),
            via=self._short_urls.host(request),
            declared=int(declared[:20]) if declared.isdigit() else None,
        )

    async def _send(self, request: Request, event: ImportEvent) -> Response:
        snapshot = await self._imports.change(request.path_params["id"], event)
        self._wake()
        return self._answer(snapshot)

    def _answer(self, snapshot: ImportSnapshot) -> Response:
        return json_answer(200, self._encode(view_of(snapshot)))


class _Body:
    """The body of a request, message by message."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def read(self) -> bytes | None:
        """Return the next bytes, none at the end; None when the client left before it."""
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            self._ended = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                return bytes(chunk)
        return b""


def view_of(snapshot: ImportSnapshot) -> ImportView:
    """Return the JSON form of an import."""
    about, progress = snapshot.about, snapshot.progress
    return ImportView(
        id=snapshot.key,
        state=snapshot.state,
        name=about.name,
        format=about.kind,
        report_format=about.report,
        size=about.size,
        bytes_read=progress.place.offset,
        rows=about.rows,
        done=progress.done,
        created=progress.created,
        reused=progress.reused,
        failed=progress.failed,
        rate=None if (rate := progress.speed.rate) is None else round(rate, 1),
        reason=about.reason or None,
        created_at=from_microseconds(about.created_at),
        started_at=from_microseconds(about.started_at),
        finished_at=from_microseconds(about.finished_at),
        report=f"/v1/imports/{snapshot.key}/report",
    )
