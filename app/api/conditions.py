"""What a request says in its headers: only at this version (If-Match), only once (Idempotency-Key), why (X-Reason)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING

from app.api.problems import refuse
from app.domain import ANONYMOUS
from app.service import Receipt

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["CALLER", "REASON_LENGTH", "etag_of", "if_match", "reason_of", "receipt_of"]

CALLER = ANONYMOUS
"""Whose changes and idempotency keys these are, until callers have names."""
REASON_LENGTH = 300

_KEY_LENGTH = 255
_HASHED = 512 * 1024
"""Bytes hashed before the loop is let go: half a millisecond."""
_OURS = re.compile(r'"(0|[1-9][0-9]{0,17})"')
"""An entity tag as `etag_of` makes it. A weak one is none: If-Match compares strongly (RFC 9110, 13.1.1)."""


def etag_of(version: int) -> bytes:
    """Return the entity tag of a version."""
    return b'"%d"' % version


def if_match(request: Request) -> frozenset[int] | None:
    """Return the versions that If-Match lists, none for tags of something else; None when it allows any."""
    listed = request.headers.getlist("if-match")
    tags = [tag.strip() for line in listed for tag in line.split(",")]
    if not listed or tags == ["*"]:
        return None
    return frozenset(int(tag[1:-1]) for tag in tags if _OURS.fullmatch(tag))


def reason_of(request: Request) -> str:
    """Return why the caller makes a change, "" when none is given. A header, so that it is the same for every call."""
    reasons: list[bytes] = [value for name, value in request.scope["headers"] if name == b"x-reason"]
    if not reasons:
        return ""
    try:
        reason = reasons[0].decode().strip()
    except UnicodeDecodeError:
        reason = ""
    if len(reasons) > 1 or not 0 < len(reason) <= REASON_LENGTH or not reason.isprintable():
        raise refuse(400, f"X-Reason: send one, of 1 to {REASON_LENGTH} printable characters in UTF-8.")
    return reason


async def receipt_of(request: Request, body: bytes) -> Receipt | None:
    """Return the use of an Idempotency-Key. The payload is the call and its body, byte for byte."""
    keys = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not keys:
        return None
    key = keys[0].decode("latin-1")
    if len(keys) > 1 or not 0 < len(key) <= _KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise refuse(400, f"Idempotency-Key: send one, of 1 to {_KEY_LENGTH} printable ASCII characters.")
    digest = hashlib.sha256(request.scope["path"].encode() + b"\0")
    for at in range(0, len(body), _HASHED):
        if at:
            await asyncio.sleep(0)
        digest.update(memoryview(body)[at : at + _HASHED])
    return Receipt.of(caller=CALLER, key=key, payload=digest.digest())
