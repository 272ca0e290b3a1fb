"""One application a test, over each store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import serve, settings_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.integration.api.served import Served


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """The store beneath."""
    return str(request.param)


@pytest.fixture
async def service(kind: str, tmp_path: Path) -> AsyncIterator[Served]:
    """The application with its default settings."""
    async with serve(settings_at(tmp_path, kind)) as served:
        yield served


@pytest.fixture
def opened(kind: str, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """What opens the application with settings of the test's choice; the clock is the test's too."""

    def open_with(*, clock: Any = None, **sections: Any) -> AbstractAsyncContextManager[Served]:
        return serve(settings_at(tmp_path, kind, **sections), clock=clock)

    return open_with
