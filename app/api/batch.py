"""The links of a batch, out of its body: at once where that is quick, else piece by piece.

Decoding holds the loop from its beginning to its end, and fifteen megabytes of `[],` take it for 0.4 s. So a body that
could take more than a millisecond is cut into its links first, in slices, and each link is decoded by itself.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import msgspec

from app.api.models import RawBatch
from app.api.payload import decode
from app.api.problems import refuse
from astra_core.asgi import FieldError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.api.problems import RequestRefused

__all__ = ["WINDOW", "Cutter", "is_quick", "read_batch"]

_AT_ONCE = 256 * 1024
"""Bytes of a body that are decoded at once."""
_COMMAS = 10_000
"""And commas of it: a value takes longer than its bytes."""
WINDOW = 32 * 1024
"""Bytes looked through before the loop is let go: 0.1 ms of text, 0.9 ms of escapes."""
_STEP = 128
"""A bracket or a comma takes as long as so many bytes."""
_BRACKETS = 100
"""Most brackets a link, on the average; it needs four."""
_CHARACTER = 12
"""Most bytes of a character in JSON: two escapes of six."""
_REST = 32 * 1024
"""Most bytes of a valid link beside its URL: title, tags, times and names."""

_BATCH = msgspec.json.Decoder(RawBatch)
_VALUE = msgspec.json.Decoder(msgspec.Raw)

# None of these gives a byte back (`*+`, `(?>`), so each takes time in proportion to what it passes.
_SPACE = re.compile(rb"[ \t\n\r]*+")
_BETWEEN = re.compile(rb'[^",\[\]{}]*+')
_WITHIN = re.compile(rb'(?>[^"\[\]{}]++|"(?>[^"\\]++|\\.)*+")*+', re.DOTALL)
_TEXT = re.compile(rb'(?>[^"\\]++|\\.)*+', re.DOTALL)
_HEAD: Final = (b"{", b'"links"', b":", b"[")


def is_quick(body: bytes) -> bool:
    """Whether decoding `body` holds the loop for less than a millisecond."""
    return len(body) <= _AT_ONCE and body.count(b",") <= _COMMAS


async def read_batch(body: bytes, *, most: int, max_url: int) -> Sequence[msgspec.Raw]:
    """Return the links, each as it was sent.

    Raises `RequestRefused`: 400 when it is not JSON; 422 when it is no batch, has more than `most` links, or one that
    is longer than any valid one, whose URL has `max_url` characters.
    """
    if body[:WINDOW].lstrip(b" \t\n\r")[:1] == b"[":
        raise _refused("", 'must be an object that holds the list, {"links": […]}, not the list alone')
    if is_quick(body):
        links: Sequence[msgspec.Raw] = decode(_BATCH, body).links
    else:
        links = await Cutter(body, most=most, longest=_REST + _CHARACTER * max_url).links()
    if len(links) > most:
        raise _too_many(most)
    return links


class Cutter:
    """Goes through one body from front to back; it tells strings and brackets apart, and leaves the rest to `decode`.

    The loop is let go after each `window` bytes.
    """

    def __init__(self, body: bytes, *, most: int, longest: int, window: int = WINDOW) -> None:
        self._body = body
        self._window = window
        self._most = most
        self._longest = longest
        self._at = 0
        self._work = 0
        self._brackets = most * _BRACKETS
        self._links: list[msgspec.Raw] = []

    async def links(self) -> list[msgspec.Raw]:
        """Return the links."""
        for token in _HEAD:
            await self._expect(token)
        begin, depth, byte = self._at, 0, b""
        while (byte, depth) != (b"]", 0):
            byte = await self._pass(_WITHIN if depth else _BETWEEN)
            if byte == b'"':
                await self._pass_string()
            elif byte in {b"[", b"{"}:
                depth += 1
                self._take_bracket()
            elif byte in {b"]", b"}"} and depth:
                depth, byte = depth - 1, b""
                self._at += 1
            elif byte in {b",", b"]"}:
                self._cut(begin, last=byte == b"]")
                begin = self._at
            else:
                raise refuse(400, f"The body is not JSON: it breaks off or goes wrong at byte {self._at}.")
        await self._expect(b"}")
        if await self._pass(_SPACE):
            raise refuse(400, f"The body is not JSON: something follows its end at byte {self._at}.")
        return self._links

    def _cut(self, begin: int, *, last: bool) -> None:
        """Take the link that began at `begin` and ends here."""
        size, place = self._at - begin, len(self._links)
        if place == self._most:
            raise _too_many(self._most)
        if size > self._longest:
            raise _refused(f"/links/{place}", f"must be at most {self._longest} bytes, not {size}")
        piece = self._body[begin : self._at]
        self._at += 1
        self._work += size
        if not piece.strip(b" \t\n\r"):
            if last and not place:
                raise _refused("/links", "must hold at least one link")
            raise refuse(400, f"The body is not JSON: a link is missing before byte {begin + size}.")
        self._links.append(decode(_VALUE, piece))

    def _take_bracket(self) -> None:
        self._at += 1
        self._brackets -= 1
        if not self._brackets:
            raise _refused("/links", f"must be links, which have no more than {_BRACKETS} brackets each")

    async def _expect(self, token: bytes) -> None:
        await self._pass(_SPACE)
        if not self._body.startswith(token, self._at):
            raise _refused(
                "", f"must be one object whose only member is links; byte {self._at} is not its {token.decode()}"
            )
        self._at += len(token)

    async def _pass_string(self) -> None:
        """Go on behind the string that begins here."""
        self._at += 1
        while (stop := await self._pass(_TEXT)) != b'"':
            if self._at + len(stop) >= len(self._body):
                raise refuse(400, "The body is not JSON: a string has no end.")
        self._at += 1

    async def _pass(self, what: re.Pattern[bytes]) -> bytes:
        """Go on to the first byte that is not `what`, and return it; nothing at the end of the body.

        A backslash at the end of a window, and a string that it cut, are not `what` either: the next window has them.
        """
        body = self._body
        while True:
            begin, end = self._at, min(self._at + self._window, len(body))
            found = what.match(body, begin, end)
            self._at = end if found is None else found.end()
            self._work += self._at - begin + _STEP
            if self._work >= self._window:
                self._work = 0
                await asyncio.sleep(0)
            if self._at < end or end == len(body):
                return body[self._at : self._at + 1]


def _too_many(most: int) -> RequestRefused:
    error = FieldError("/links", f"must be at most {most} links")
    return refuse(422, f"links: {error.detail}; send several batches.", errors=(error,))


def _refused(pointer: str, detail: str) -> RequestRefused:
    return refuse(422, f"{pointer[1:] or 'The body'}: {detail}.", errors=(FieldError(pointer, detail),))
