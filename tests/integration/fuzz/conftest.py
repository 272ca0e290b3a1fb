"""One application for all examples of a test: what an example leaves behind is part of the next one's world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.fuzz.live import open_live

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.fuzz.live import Live


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """The application, with a few links in it."""
    with open_live(tmp_path) as opened:
        links = [
            {"url": "https://a.example/", "code": "plain"},
            {"url": "https://a.example/p?a=b#c", "code": "query", "forward_query": True},
            {"url": "https://a.example/", "code": "few", "max_visits": 3},
            {"url": "https://a.example/", "code": "later", "starts_at": "2999-01-01T00:00:00Z"},
            {"url": "https://a.example/", "code": "moved", "redirect_status": 307},
            {"url": "https://a.example/", "code": "off"},
            *[{"url": "https://a.example/", "code": f"extra-{place}"} for place in range(60)],
        ]
        results = opened.request("POST", "/v1/links/batch", json={"links": links}).json()["results"]
        assert {one["status"] for one in results} == {201}
        opened.request("POST", "/v1/links/off/disable")
        yield opened
