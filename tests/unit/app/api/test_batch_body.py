"""Cutting a batch into its links: the same links as decoding finds, without holding the loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.batch import WINDOW, Cutter, is_quick, read_batch
from app.api.problems import RequestRefused

MB = 1024 * 1024
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


async def cut(body: bytes, *, window: int = WINDOW) -> list[Any]:
    """The links of a body, cut and then decoded one by one."""
    cutter = Cutter(body, most=1_000, longest=MB, window=window)
    return [msgspec.json.decode(link) for link in await cutter.links()]


async def turns_while(body: bytes, *, most: int = 1_000) -> tuple[int, RequestRefused | None]:
    """Turns that other work of the loop got while a body was read, and what it was refused with."""
    turns, refused = 0, None

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    try:
        await read_batch(body, most=most, max_url=8_192)
    except RequestRefused as error:
        refused = error
    counting.cancel()
    return turns, refused


@given(st.lists(JSON, min_size=1, max_size=5), st.integers(2, 40), st.booleans(), st.sampled_from((None, 1)))
def test_cutting_finds_what_decoding_finds(links: list[Any], window: int, escaped: bool, indent: int | None) -> None:
    """Whatever stands in the links, however it is written, and wherever a window ends."""
    body = json.dumps({"links": links}, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    assert asyncio.run(cut(body, window=window)) == links


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"", 422, ""),
        (b"[]", 422, ""),
        (b'{"url":1}', 422, ""),
        (b'{"links":{}}', 422, ""),
        (b'{"links":[]}', 422, "/links"),
        (b'{"links":[ ] }', 422, "/links"),
        (b'{"links":[1],"more":1}', 422, ""),
        (b'{"links":[1', 400, None),
        (b'{"links":["a', 400, None),
        (b'{"links":["a\\', 400, None),
        (b'{"links":[[1}', 400, None),
        (b'{"links":[{]}]}', 400, None),
        (b'{"links":[1,]}', 400, None),
        (b'{"links":[,1]}', 400, None),
        (b'{"links":[1]} x', 400, None),
        (b'{"links":[1 2]}', 400, None),
        (b'{"links":[1}', 400, None),
    ],
)
async def test_what_is_no_batch_is_refused(body: bytes, status: int, pointer: str | None) -> None:
    """422 with where it goes wrong, 400 for what is not JSON."""
    with pytest.raises(RequestRefused) as caught:
        await cut(body)
    problem = caught.value.problem
    assert problem.status == status
    assert [error.pointer for error in problem.errors] == ([] if pointer is None else [pointer])


@pytest.mark.parametrize("inside", [b"[],", b'{"a":1},', b'"",', b"1,", b"[[[[", b"[[],", b"[1,"])
async def test_a_body_that_costs_much_does_not_hold_the_loop(inside: bytes) -> None:
    """Megabytes of values that are no links are refused early, or piece by piece."""
    body = b'{"links":[' + inside * (15 * MB // len(inside)) + b"1]}"
    _, refused = await turns_while(body)
    assert refused is not None
    assert refused.problem.status == 422


@pytest.mark.parametrize("link", [b'{"url":"%s"}' % (b"x" * 8_000), b'{"url":"%s"}' % (rb"\u00e4" * 8_000)])
async def test_a_large_batch_lets_the_loop_go(link: bytes) -> None:
    """Other work gets a turn at least with each window, and with links that take a window."""
    body = b'{"links":[' + b", ".join([link] * 300) + b"]}"
    turns, refused = await turns_while(body)
    assert refused is None
    assert turns >= len(body) // (2 * WINDOW)


@pytest.mark.parametrize(
    "body",
    [b'{"links":["' + b"a" * 15 * MB + b'"]}', b'{"links":["' + rb"\"" * 7 * MB + b'"]}', b" " * 15 * MB + b"{}"],
)
async def test_one_long_value_does_not_hold_the_loop(body: bytes) -> None:
    """A string, its escapes and blanks are passed window by window; a link longer than any can be is refused."""
    turns, refused = await turns_while(body)
    assert refused is not None
    assert turns >= len(body) // (2 * WINDOW)


async def test_links_beyond_the_bound_are_not_looked_at() -> None:
    """The one after the last that is allowed ends the reading."""
    body = b'{"links":[' + b"1," * 20_000 + b"nonsense"
    assert not is_quick(body)
    with pytest.raises(RequestRefused, match="at most 5 links"):
        await read_batch(body, most=5, max_url=64)


@pytest.mark.parametrize("body", [b"[]", b' [{"url":"https://a.example"}]', b"[1," + b"1," * 20_000 + b"1]"])
async def test_a_bare_list_is_told_where_it_belongs(body: bytes) -> None:
    """The refusal shows the object that a batch is, whether the body is quick to decode or cut."""
    with pytest.raises(RequestRefused) as caught:
        await read_batch(body, most=1_000, max_url=8_192)
    (error,) = caught.value.problem.errors
    assert (caught.value.problem.status, error.pointer) == (422, "")
    assert error.detail == 'must be an object that holds the list, {"links": […]}, not the list alone'
