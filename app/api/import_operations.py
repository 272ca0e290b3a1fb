"""The part of the table of version 1 that is about imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api.imports import REPORT_MEDIA, UPLOAD_MEDIA
from app.api.models import ImportItems, ImportView
from app.api.operation import Operation, Parameter
from app.imports import Format

if TYPE_CHECKING:
    from app.api.imports import ImportApi

__all__ = ["import_operations"]

_ID = Parameter(name="id", where="path", schema={"type": "string"}, description="The import's id.")
_NAME = Parameter(
    name="name",
    where="query",
    schema={"type": "string", "maxLength": 255},
    description="What people call the file.",
)
_REPORT = Parameter(
    name="report",
    where="query",
    schema={"type": "string", "enum": [kind.value for kind in Format]},
    description="The format of the report; that of the file unless given.",
)
_CURSOR = Parameter(
    name="cursor", where="query", schema={"type": "string"}, description="`next_cursor` of the page before."
)
_ANY = (400, 503)


def import_operations(imports: ImportApi) -> tuple[Operation, ...]:
    """Return the operations, bound to the handlers."""
    limit = Parameter(
        name="limit",
        where="query",
        schema={
            "type": "integer",
            "minimum": 1,
            "maximum": imports.pages.max_page,
            "default": imports.pages.page,
        },
        description="Imports a page.",
    )
    moves = (
        ("pause", imports.pause, "Stop an import until it is resumed."),
        ("resume", imports.resume, "Let a paused import go on with the row it had come to."),
        ("cancel", imports.cancel, "Stop an import for good; links that it has made stay."),
    )
    return (
        Operation(
            method="POST",
            path="/v1/imports",
            handler=imports.create,
            name="createImport",
            summary="Send a file of links, CSV or NDJSON; a worker makes them, and a bad row fails alone.",
            body=str,
            media=UPLOAD_MEDIA,
            answers={201: ImportView},
            headers={201: {"Location": "Where its progress is."}},
            parameters=(_NAME, _REPORT),
            problems=(*_ANY, 408, 413, 415, 422, 507),
        ),
        Operation(
            method="GET",
            path="/v1/imports",
            handler=imports.index,
            name="listImports",
            summary="List imports, newest first.",
            answers={200: ImportItems},
            parameters=(limit, _CURSOR),
            problems=(*_ANY, 422),
        ),
        Operation(
            method="GET",
            path="/v1/imports/{id}",
            handler=imports.read,
            name="readImport",
            summary="Read an import: its state and how far it has come.",
            answers={200: ImportView},
            parameters=(_ID,),
            problems=(*_ANY, 404),
        ),
        *(
            Operation(
                method="POST",
                path=f"/v1/imports/{{id}}/{name}",
                handler=handler,
                name=f"{name}Import",
                summary=summary,
                answers={200: ImportView},
                parameters=(_ID,),
                problems=(*_ANY, 404, 409),
            )
            for name, handler, summary in moves
        ),
        Operation(
            method="GET",
            path="/v1/imports/{id}/report",
            handler=imports.report,
            name="readImportReport",
            summary="What became of each row so far: row, line, status, and code and short URL or the problem.",
            answers={200: str},
            produces=tuple(REPORT_MEDIA.values()),
            headers={200: {"Content-Disposition": "A name for the file."}},
            parameters=(_ID,),
            problems=(*_ANY, 404),
        ),
    )
