"""From the bytes of a request to a typed value; everything that can be wrong with them has its own status."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from app.api.problems import RequestRefused, refuse
from astra_core.asgi import FieldError, Problem
from astra_core.resilience import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from starlette.requests import Request

    from astra_core.asgi import Receive
    from astra_core.resilience import Deadlines

__all__ = ["BodyLimits", "decode", "read_json", "why_not_json"]

T = TypeVar("T")

_TIME = "an RFC 3339 time with an offset, such as 2030-12-31T23:59:59Z"
_KINDS = {
    "int": "a whole number",
    "float": "a decimal number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": _TIME,
    "null": "null",
}
"""The types of JSON by the names that msgspec gives them, in words."""
_OTHER_KIND = re.compile(r"Expected `([a-z| ]+)`, got `([a-z]+)`")
_OUT_OF_BOUNDS = re.compile(r"Expected `(int|str|array)` (?:of length )?([<>])= (\d+)")
_PATH_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_TIMES = frozenset({"Invalid RFC3339 encoded datetime", "Expected `datetime` with a timezone component"})
_MEMBER = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`", re.DOTALL)
_TRUNCATED = "Input data was truncated"
_HALF = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u|\\?\Z)")
"""The first half of a surrogate pair without its second, which msgspec takes for the end of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Bytes of a body and of a batch's body."""

    body: int
    batch_body: int


async def read_json(
    request: Request, *, limit: int, arrival: Deadlines, media: tuple[str, ...] = ("application/json",)
) -> bytes:
    """Return the body. Raises `RequestRefused`: 415 for another media type, 413 over `limit`, 408 when it is late."""
    headers = dict(request.scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if kind not in media:
        accept = ("accept-patch", ", ".join(media)) if request.method == "PATCH" else ("accept-post", ", ".join(media))
        raise refuse(415, f"Send the body as {media[0]} and say so in Content-Type.", header=accept)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise refuse(415, "Send the body without Content-Encoding.", header=("accept-encoding", "identity"))
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    arriving = _whole(request.receive, limit)
    try:
        pending = arriving.send(None)
    except StopIteration as whole:  # it came with its head, as most do: a deadline would cost more than that
        body: bytes = whole.value
        return body
    try:
        return await arrival.call(_resumed, arriving, pending)
    except DeadlineExceeded as error:
        if not error.own:  # the caller wanted the answer sooner, so it is not the body that is late
            raise
        late = f"The body did not arrive whole within {error.budget:g} s."
        raise refuse(408, late, header=("connection", "close")) from None


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, bytes], pending: Any) -> Generator[Any, Any, bytes]:
    """Go on with a coroutine that was begun by hand and waits for `pending`."""
    while True:
        try:
            sent = yield pending
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, sent)
        try:
            pending = step()
        except StopIteration as end:
            whole: bytes = end.value
            return whole


async def _whole(receive: Receive, limit: int) -> bytes:
    """Return a body; most come in one message."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise refuse(400, "The connection closed before the body had arrived.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunk if len(chunks) == 1 else b"".join(chunks)


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """Return the typed value. Raises `RequestRefused`: 400 when it is not JSON, 422 when it has another shape."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RequestRefused(validation_problem(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(400, f"The body is not JSON: {why_not_json(error, bytes(body))}.") from None


def why_not_json(error: Exception, text: bytes) -> str:
    """Return in words what msgspec says of a text that is not JSON."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = str(error).removeprefix("JSON is malformed: ")
    if "surrogate" in said or (said == _TRUNCATED and _HALF.search(text) is not None):
        return "half of a surrogate pair stands alone in it, such as \\ud800"
    if said == _TRUNCATED:
        return "it breaks off" if text.strip() else "it is empty"
    return said


def validation_problem(error: msgspec.ValidationError) -> Problem:
    """Translate msgspec's message, "Expected `str`, got `int` - at `$.tags[0]`", into a pointer and a detail."""
    detail, _, path = str(error).partition(" - at `$")
    pointer = "".join(f"/{_escape(name or place)}" for name, place in _PATH_PART.findall(path.rstrip("`")))
    if (member := _MEMBER.match(detail)) is not None:
        pointer = f"{pointer}/{_escape(member[1])}"
        known = "unknown" in detail
        detail = "is not a member of this object; leave it out" if known else "is missing; it is required"
    elif detail in _TIMES:
        detail = f"must be {_TIME}"
    else:
        detail = _in_words(detail, pointer.rpartition("/")[2])
    return Problem(
        status=422,
        type="urn:astra:problem:invalid-link",
        title="Invalid link",
        detail="One member is invalid: see errors.",
        errors=(FieldError(pointer, detail[:1].lower() + detail[1:]),),
    )


def _in_words(detail: str, name: str) -> str:
    """Say of the member `name` what msgspec says in the names of types; what is not known stays as it is."""
    if (other := _OTHER_KIND.fullmatch(detail)) is not None:
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in other[1].split(" | "))
        return f"must be {wanted}, not {_KINDS.get(other[2], other[2])}"
    if (bound := _OUT_OF_BOUNDS.fullmatch(detail)) is not None:
        kind, least, number = bound[1], "at least" if bound[2] == ">" else "at most", bound[3]
        if kind == "array":  # lists are named in the plural
            return f"must hold {least} {'one ' + name.removesuffix('s') if number == '1' else f'{number} {name}'}"
        return f"must be {least} {number}{' characters long' if kind == 'str' else ''}"
    return "must be a number of an ordinary size" if detail == "Number out of range" else detail


def _escape(part: Any) -> str:
    return str(part)[:100].replace("~", "~0").replace("/", "~1")


def _too_large(limit: int) -> RequestRefused:
    return refuse(413, f"The body is larger than {limit} bytes; send less.", header=("connection", "close"))
