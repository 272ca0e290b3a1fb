from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.domain import InvalidLink
from app.service import Answer, Draft, IdempotencyInProgress, IdempotencyMismatch, Receipt
from astra_core.errors import CommitConflict
from tests.unit.app.service.made import RULES, Made, made

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from astra_core.storage.writes import Write

ANSWER = Answer(201, ((b"location", b"/x"),), b"body\xff")
RECEIPT = Receipt.of(caller="a", key="k", payload=b"digest")


@pytest.fixture
async def service() -> AsyncIterator[Made]:
    """The service over an empty store, with keys that live for a minute."""
    async with made() as parts:
        yield parts


async def test_an_answer_is_kept_as_it_is(service: Made) -> None:
    """Status, headers and body come back, to the same caller, key and payload only."""
    assert (await service.keys.look_up(RECEIPT)).answer is None
    await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=0)])
    found = await service.keys.look_up(RECEIPT)
    assert (found.answer, found.version) == (ANSWER, 1)
    with pytest.raises(IdempotencyMismatch):
        await service.keys.look_up(Receipt.of(caller="a", key="k", payload=b"other"))
    for caller, key in (("b", "k"), ("a", "K")):
        assert (await service.keys.look_up(Receipt.of(caller=caller, key=key, payload=b"digest"))).answer is None


async def test_of_two_that_keep_an_answer_one_is_refused(service: Made) -> None:
    """The commit decides, for a new key as for an expired one."""
    await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=0)])
    with pytest.raises(CommitConflict):
        await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=0)])
    service.clock.advance(60)
    found = await service.keys.look_up(RECEIPT)
    assert (found.answer, found.version) == (None, 1)
    await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=1)])
    with pytest.raises(CommitConflict):
        await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=1)])


async def test_a_key_is_given_back_whatever_happens(service: Made) -> None:
    """While a request holds its key no other of the process may; after a refusal it is free."""
    service.keys.begin(RECEIPT)
    with pytest.raises(IdempotencyInProgress):
        service.keys.begin(RECEIPT)
    with pytest.raises(IdempotencyInProgress):
        await service.create(Draft(url="https://a.example"), receipt=RECEIPT)
    service.keys.end(RECEIPT)

    async def refuse(outcomes: object) -> Answer:
        raise InvalidLink([])

    for _ in range(2):
        with pytest.raises(InvalidLink):
            await service.creator.create([Draft(url="ftp://x")], rules=RULES, render=refuse, receipt=RECEIPT)
    service.keys.begin(RECEIPT)


async def test_a_purge_spares_a_key_used_again(service: Made) -> None:
    """An expired answer that is replaced while a purge runs stays, and the purge says that it removed nothing."""
    await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=0)])
    service.clock.advance(61.5)

    async def use_again(writes: Sequence[Write]) -> None:
        await service.store.commit([service.keys.keep(RECEIPT, ANSWER, version=1)])

    service.store.rival = use_again
    assert await service.keys.purge() == 0
    assert (await service.keys.look_up(RECEIPT)).answer == ANSWER
