from __future__ import annotations

import pytest
from starlette.requests import Request

from app.api import ShortUrls
from app.api.problems import RequestRefused

OURS = ("localhost", "127.0.0.1", "[::1]", "Exa.MP")


def request(*hosts: str, scheme: str = "http") -> Request:
    """A request with these Host headers, and a query that no text codec takes."""
    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    return Request({"type": "http", "scheme": scheme, "path": "/", "query_string": b"\xff", "headers": headers})


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("localhost", "http://localhost"),
        ("LocalHost:8080", "http://localhost:8080"),
        ("exa.mp", "http://exa.mp"),
        ("127.0.0.1:65535", "http://127.0.0.1:65535"),
        ("[::1]", "http://[::1]"),
        ("[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_host_of_ours_begins_the_short_url(host: str, base: str) -> None:
    """Host and port of the request, under its scheme."""
    urls = ShortUrls(base_url=None, allowed_hosts=OURS)
    assert urls.base(request(host)) == base
    assert urls.base(request(host, scheme="https")) == base.replace("http:", "https:")
    assert urls.host(request(host)) == base.removeprefix("http://")


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("localhost", "localhost"),
        ("evil.test",),
        ("localhost.evil.test",),
        ("user@localhost",),
        ("localhost:",),
        ("localhost:65536",),
        ("localhost:²",),
        ("localhost:80:80",),
        ("localhost/x",),
        ("localhost ",),
        ("::1",),
        ("",),
    ],
)
def test_any_other_host_is_refused_or_passed_over(hosts: tuple[str, ...]) -> None:
    """400 without a base URL; with one the Host says nothing."""
    with pytest.raises(RequestRefused) as caught:
        ShortUrls(base_url=None, allowed_hosts=OURS).base(request(*hosts))
    assert caught.value.problem.status == 400
    urls = ShortUrls(base_url="https://exa.mp/", allowed_hosts=OURS)
    assert (urls.base(request(*hosts)), urls.host(request(*hosts))) == ("https://exa.mp", "")
