"""The service as the load tests open it in process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtests.browsers import FEW
from loadtests.driving import drive
from loadtests.lifespan import LifespanError, lifespan
from loadtests.subjects import opened
from loadtests.variants import BARE, OURS, RAW, chosen

if TYPE_CHECKING:
    from pathlib import Path

    from astra_core.asgi import Receive, Scope, Send


async def test_every_visit_of_the_service_is_counted(tmp_path: Path) -> None:
    """Settling returns once all driven visits are counted."""
    async with opened(OURS, tmp_path) as subject:
        await subject.check()
        await drive(subject.app, subject.path, FEW, requests=50)
        subject.driven += 50
        await subject.settle()
        assert subject.background > 0


async def test_a_visit_too_many_is_noticed(tmp_path: Path) -> None:
    """A count that differs from the visits made fails the run."""
    async with opened(OURS, tmp_path) as subject:
        await drive(subject.app, subject.path, FEW, requests=2)
        subject.driven = 1
        with pytest.raises(AssertionError, match="visits were answered"):
            await subject.settle()


async def test_a_refused_start_is_an_error() -> None:
    """An application that refuses its lifespan is never measured."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the disk is full"})

    with pytest.raises(LifespanError, match="the disk is full"):
        async with lifespan(refusing):
            pass


def test_the_ratios_always_have_their_variants() -> None:
    """A choice of variants adds to the three that every ratio needs."""
    where = "http://127.0.0.1:4318"
    assert chosen([], collector=where) == [OURS.traced(where), BARE, RAW]
    with pytest.raises(ValueError, match="no such variant: nginx"):
        chosen(["nginx"], collector=where)
