from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from app.domain import InvalidLink
from app.links import FEED, REMAINING
from app.service import CodeTaken, Draft, Receipt
from astra_core.storage.writes import Insert, Take
from tests.unit.app.service.made import Made, made

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from app.service import Outcome
    from astra_core.storage.writes import Write

URL = "https://a.example/"
MANY = 200


@pytest.fixture
async def service() -> AsyncIterator[Made]:
    """The service over an empty store."""
    async with made() as parts:
        yield parts


def code_of(outcome: Outcome) -> str:
    """The code of the link that was made or found."""
    assert outcome.snapshot is not None, outcome.error
    return outcome.snapshot.link.code


async def test_one_commit_a_request(service: Made) -> None:
    """However many links a request makes, one commit holds them; a request that makes none commits nothing."""
    await service.create(Draft(url=URL))
    await service.create(*[Draft(url=f"{URL}{place}") for place in range(MANY)])
    assert service.store.commits == 2
    await service.create(Draft(url="ftp://x"), InvalidLink([]), Draft(url=URL, reuse=True))
    assert service.store.commits == 2


async def test_who_follows_the_changes_is_told_of_each_made_here(service: Made) -> None:
    """By its number in the links' feed, in order; not of another creator's, nor of what came to nothing."""
    await service.create(Draft(url=URL))
    await service.create(Draft(url=URL, max_visits=3), Draft(url="ftp://x"), Draft(url=f"{URL}2"))
    await service.create(Draft(url=URL), by=service.rival)
    await service.create(Draft(url=URL, reuse=True))
    await service.create(Draft(url=URL))
    assert service.applied == [1, 2, 3, 5]
    assert await service.store.tip(FEED) == 5


async def test_what_was_made_and_what_was_found_is_counted(service: Made) -> None:
    """Each link once, however it was asked for; what was refused is neither."""
    await service.create(Draft(url=URL, reuse=True))
    await service.create(Draft(url=URL, reuse=True))
    await service.create(Draft(url="https://b.example", reuse=True), Draft(url="https://b.example", reuse=True))
    await service.create(InvalidLink([]), Draft(url=URL))
    assert (service.creator.created, service.creator.reused) == (3, 2)


async def test_a_generated_code_that_is_taken_is_passed_over(service: Made) -> None:
    """Somebody's custom code of the same shape costs another number, not the request."""
    stolen: list[str] = []

    async def steal(writes: Sequence[Write]) -> None:
        stolen.extend(msgspec.json.decode(write.value)["code"] for write in writes if isinstance(write, Insert))
        thefts = await service.create(*[Draft(url=URL, code=code) for code in stolen], by=service.rival)
        assert all(theft.created for theft in thefts)

    service.store.rival = steal
    (outcome,) = await service.create(Draft(url=URL))
    assert outcome.created
    assert len(stolen) == 1
    assert code_of(outcome) not in stolen
    service.store.rival, service.store.commits = steal, 0
    stolen.clear()
    outcomes = await service.create(*[Draft(url=URL, private=place % 2 == 0) for place in range(MANY)])
    assert all(outcome.created for outcome in outcomes)
    assert len({code_of(outcome) for outcome in outcomes} - set(stolen)) == len(stolen) == MANY
    assert service.store.commits == 3, "the rival's, the refused one, and one more for all"


async def test_a_custom_code_that_is_lost_is_refused(service: Made) -> None:
    """A code taken between look and commit is refused, and the rest of the batch is made, with one more commit."""

    async def steal(writes: Sequence[Write]) -> None:
        await service.create(*[Draft(url=URL, code=f"code-{place}") for place in range(0, MANY, 2)], by=service.rival)

    service.store.rival = steal
    outcomes = await service.create(*[Draft(url=URL, code=f"code-{place}") for place in range(MANY)])
    assert [outcome.created for outcome in outcomes] == [False, True] * (MANY // 2)
    assert all(isinstance(outcome.error, CodeTaken) for outcome in outcomes[::2])
    assert service.store.commits == 3


async def test_a_code_named_often_costs_one_commit(service: Made) -> None:
    """The same custom code throughout a batch is known to be taken without asking the store by commits."""
    outcomes = await service.create(*[Draft(url=f"{URL}{place}", code="same") for place in range(MANY)])
    assert [outcome.created for outcome in outcomes] == [True] + [False] * (MANY - 1)
    assert service.store.commits == 1


@pytest.mark.parametrize("coded", [False, True])
async def test_a_lost_race_for_equal_links_finds_them(service: Made, coded: bool) -> None:
    """Whoever commits second answers with the links that the first one made, after one look for all of them."""
    drafts = [Draft(url=f"{URL}{place}", reuse=True, code=f"code-{place}" if coded else None) for place in range(MANY)]
    first: list[Outcome] = []

    async def overtake(writes: Sequence[Write]) -> None:
        first.extend(await service.create(*drafts, by=service.rival))

    service.store.rival = overtake
    second = await service.create(*drafts)
    assert [code_of(outcome) for outcome in first] == [code_of(outcome) for outcome in second]
    assert (all(one.created for one in first), any(one.created for one in second)) == (True, False)
    assert service.store.commits == 2


@pytest.mark.parametrize("end", ["exhausted", "under another code"])
async def test_a_place_that_is_held_does_not_stop_a_batch(service: Made, end: str) -> None:
    """New links are made beside equal ones that may not be answered with: after those that are used up, without a
    failed commit; those under another code hold their place."""
    kept = await service.create(*[Draft(url=f"{URL}{place}", reuse=True, max_visits=1) for place in range(MANY)])
    if end == "exhausted":
        await service.store.commit([Take(counters=REMAINING, key=code_of(one)) for one in kept])
    codes = [None if end == "exhausted" else f"code-{place}" for place in range(MANY)]
    drafts = [Draft(url=f"{URL}{place}", reuse=True, max_visits=1, code=code) for place, code in enumerate(codes)]
    service.store.commits = 0
    outcomes = await service.create(*drafts)
    assert all(outcome.created for outcome in outcomes)
    assert service.store.commits == (1 if end == "exhausted" else 2)
    assert [code_of(one) for one in await service.create(*drafts)] == [code_of(one) for one in outcomes]


async def test_equal_links_made_by_a_clock_set_back(service: Made) -> None:
    """A place that was taken by one that seems older is passed over: the link is made all the same."""
    codes = set()
    for _ in range(4):
        (made,) = await service.create(Draft(url=URL, reuse=True, max_visits=1))
        codes.add(code_of(made))
        await service.store.commit([Take(counters=REMAINING, key=code_of(made))])
        service.clock.step(-100.0)
    assert len(codes) == 4


async def test_an_answer_kept_meanwhile_is_given(service: Made) -> None:
    """Two processes with one key: the second one's commit is refused whole, and it gives the first one's answer."""
    receipt = Receipt.of(caller="a", key="k", payload=b"digest")

    async def overtake(writes: Sequence[Write]) -> None:
        await service.create(Draft(url=URL, code="first"), by=service.rival, receipt=receipt)

    service.store.rival = overtake
    await service.create(Draft(url=URL, code="second"), receipt=receipt)
    page = await service.manager.get("first")
    assert page.link.code == "first"
    assert await service.store.get("links", "second") is None
    assert service.store.commits == 2
