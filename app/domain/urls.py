"""Which URLs a link may lead to, and the one form in which they are stored.

Parsing follows the WHATWG URL Standard (https://url.spec.whatwg.org) through Ada, as browsers do; the stored form is
the href. Two things the standard lets pass are refused, because they are never meant: control characters (browsers
strip tabs and line breaks silently) and lone surrogates (browsers put U+FFFD in their place).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

import ada_url
from ada_url.ada_adapter import ffi, lib  # type: ignore[attr-defined]

from app.domain.errors import InvalidUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_LENGTH", "normalise", "own_places", "readable_host"]

MAX_LENGTH = 8192
"""Characters, of the URL as given and of its href."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_DEFAULT_PORTS = frozenset({"", "80", "443"})


def normalise(
    url: str,
    *,
    own_hosts: frozenset[str] = frozenset(),
    allow_credentials: bool = False,
    max_length: int = MAX_LENGTH,
) -> str:
    """Return the href of `url`: absolute, http or https, ASCII without spaces, safe as a header value byte for byte.

    `own_hosts` are the places of this service as `own_places` gives them; a link to one of them would be a loop.
    Spaces around the URL are dropped. Raises `InvalidUrl`.
    """
    text = url.strip(" ")
    _check_text(text, max_length)
    href = _href_of(text)
    if href is None:
        raise InvalidUrl(_why_unparsable(text))
    scheme, _, rest = href.partition(":")
    if scheme not in ("http", "https"):
        raise InvalidUrl(_wrong_scheme(scheme))
    # An href of these schemes is `scheme://[userinfo@]host[:port]/…`, so nothing more need be asked of Ada.
    credentials, _, host = rest[2:].partition("/")[0].rpartition("@")
    if credentials and not allow_credentials:
        raise InvalidUrl("must hold no user name or password: remove what stands before the @ of the host")
    if own_hosts and (place := _place_of(host)) in own_hosts:
        raise InvalidUrl(f"must not lead back to this service ({place}): give the address it should end at")
    if len(href) > max_length:
        raise InvalidUrl(f"must be at most {max_length} characters, not {len(href)} as percent-encoded")
    if not _is_plain(href) or " " in href:
        raise InvalidUrl("must have a form in printable ASCII: percent-encode everything else")
    return href


def own_places(hosts: Iterable[str]) -> frozenset[str]:
    """Return what `normalise` compares with, for hosts (`example.com`, `[::1]:8000`) or base URLs of this service.

    A place is host[:port] in WHATWG form, the ports 80 and 443 and a final dot left out. An IPv4 address mapped into
    IPv6 counts as itself, every name and address by which a machine calls itself as `localhost`. A host without a port
    means those two ports, not any. Raises `InvalidUrl`.
    """
    places = set()
    for host in hosts:
        try:
            parts = ada_url.parse_url(host if "://" in host else f"http://{host}", ("hostname", "port"))
        except ValueError:
            raise InvalidUrl(f"{host!r} is not a host, a host with a port, or a base URL") from None
        places.add(_place(parts["hostname"], parts["port"]))
    return frozenset(places)


def readable_host(href: str) -> str:
    """Return the host (and port) of an href with international names in Unicode, for people to read; never raises.

    A name that does not encode back to itself is left in ASCII: it would read as another (`xn---etr` as `xn--etr`).
    """
    try:
        parts = ada_url.parse_url(href, ("hostname", "host"))
        ascii_name, host = parts["hostname"], parts["host"]
        if "xn--" not in ascii_name:
            return host
        name = ada_url.idna.decode(ascii_name)
        if ada_url.idna.encode(name).decode() != ascii_name:
            return host
    except ValueError:
        return ""
    return name + host[len(ascii_name) :]


def _href_of(text: str) -> str | None:
    """Return the href; None where Ada cannot parse `text`.

    Through Ada's C functions, which `ada_url.parse_url` calls too: it wraps what they return in an object with a
    finaliser, for parts that nobody asks for here, and takes twice as long.
    """
    given = text.encode()
    parsed = lib.ada_parse(given, len(given))
    try:
        if not lib.ada_is_valid(parsed):
            return None
        href = lib.ada_get_href(parsed)
        return str(ffi.unpack(href.data, href.length), "ascii")
    finally:
        lib.ada_free(parsed)


def _check_text(text: str, max_length: int) -> None:
    if not text:
        raise InvalidUrl("must not be empty")
    if len(text) > max_length:
        raise InvalidUrl(f"must be at most {max_length} characters, not {len(text)}")
    if _is_plain(text):
        return
    if found := _CONTROL.search(text):
        raise InvalidUrl(
            f"must hold no control characters, as U+{ord(found[0]):04X} at character {found.start() + 1}: "
            "remove it, or percent-encode it"
        )
    if found := _SURROGATE.search(text):
        raise InvalidUrl(f"must be valid Unicode: character {found.start() + 1} is half of a surrogate pair")


def _is_plain(text: str) -> bool:
    """Whether every character is a space or a visible one of ASCII. Two scans in C take a fifth of one by a pattern."""
    return text.isascii() and text.isprintable()


def _why_unparsable(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme is None:
        return "must be absolute: begin it with http:// or https://"
    if scheme[1].lower() not in ("http", "https"):
        return _wrong_scheme(scheme[1])
    return "must name a valid host, and a port of at most 65535 if any, as in https://example.com:8080/path"


def _wrong_scheme(scheme: str) -> str:
    return f"must have the scheme http or https, not {scheme[:32]}: begin it with http:// or https://"


@lru_cache(maxsize=1024)
def _place_of(host: str) -> str:
    """Return the place of an href's `host` or `host:port`; links made at a time lead to few."""
    return _place(*_split(host))


def _split(host: str) -> tuple[str, str]:
    """Return name and port, which may be empty, of `host` or `host:port`."""
    name, bracket, tail = host.rpartition("]")
    tail, _, port = tail.partition(":")
    return name + bracket + tail, port


def _place(hostname: str, port: str) -> str:
    name = _own_name(hostname.rstrip("."))
    return name if port in _DEFAULT_PORTS else f"{name}:{port}"


def _own_name(name: str) -> str:
    """Return the one form of a host that has several."""
    if name.endswith(".localhost"):
        return "localhost"
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:  # who connects to 0.0.0.0 or [::] reaches his own machine
        return "localhost"
    return str(address) if address.version == 4 else name
