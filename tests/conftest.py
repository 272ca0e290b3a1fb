"""What holds for every test: where engines were started, none of the tests that need them may be skipped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test that wants an engine into a failure; its reason begins with `needs an engine`."""
    report = yield
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and os.environ.get("ASTRA_TEST_ENGINES") and "needs an engine" in reason:
        report.outcome = "failed"
        report.longrepr = f"{reason}: but ASTRA_TEST_ENGINES is set, so it must run"
    return report
