"""Whose word is taken."""

from __future__ import annotations

import pytest

from app.edge import TrustedProxies
from tests.unit.astra_core.asgi.driver import http_scope

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("unix:/run/astra.sock", False),
        ("", False),
    ],
)
def test_an_address_is_trusted_when_it_was_named(host: str, trusted: bool) -> None:
    """Alone or in a network, also mapped into IPv6; the answer is the same when it is remembered."""
    scope = {**http_scope(), "client": (host, 4711)}
    assert [PROXIES(scope), PROXIES(scope)] == [trusted, trusted]


def test_a_request_from_nowhere_is_not_trusted() -> None:
    """A server may name no client."""
    assert not PROXIES({**http_scope(), "client": None})


def test_many_strangers_take_no_room() -> None:
    """What is remembered has a bound, and forgetting changes no answer."""
    proxies = TrustedProxies(["10.0.0.0/8"])
    for number in range(2_500):
        assert not proxies({**http_scope(), "client": (f"11.0.{number // 250}.{number % 250}", 1)})
    assert len(proxies._known) <= 1_000
    assert proxies({**http_scope(), "client": ("10.0.0.1", 1)})


def test_nobody_is_trusted_by_default() -> None:
    """And that can be asked, so that nothing is looked up then."""
    assert not TrustedProxies([])
    assert PROXIES
    assert repr(PROXIES) == "TrustedProxies(10.0.0.0/8, 192.0.2.7/32, 2001:db8::/32)"
