"""The cache against a model of CLOCK that is written for reading."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.links.cache import ClockCache

CHANCES = 32


class Model:
    """Second chance on two lists: keys in order of age, and those marked."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: list[tuple[str, int]] = []
        self.marked: set[str] = set()
        self.evicted = 0

    def keys(self) -> list[str]:
        """The keys, oldest first."""
        return [key for key, _ in self.entries]

    def put(self, key: str, value: int) -> None:
        """Insert or replace."""
        if key in self.keys():
            self.entries[self.keys().index(key)] = (key, value)
        elif self.capacity > 0:
            if len(self.entries) == self.capacity:
                self.evict()
            self.entries.append((key, value))

    def evict(self) -> None:
        """Take the oldest that has no mark."""
        for _ in range(CHANCES):
            key, value = self.entries[0]
            if key not in self.marked:
                break
            self.marked.remove(key)
            self.entries = [*self.entries[1:], (key, value)]
        self.marked.discard(self.entries.pop(0)[0])
        self.evicted += 1

    def hit(self, key: str) -> int | None:
        """Look up and mark."""
        found = dict(self.entries).get(key)
        if found is not None:
            self.marked.add(key)
        return found

    def drop(self, key: str) -> None:
        """Forget one."""
        self.entries = [entry for entry in self.entries if entry[0] != key]
        self.marked.discard(key)


keys = st.integers(0, 60).map(lambda number: f"/{number}")
steps = st.one_of(
    st.tuples(st.just("put"), keys),
    st.tuples(st.just("hit"), keys),
    st.tuples(st.just("hit"), keys),
    st.tuples(st.just("drop"), keys),
    st.tuples(st.just("hit all"), st.just("")),
    st.tuples(st.just("clear"), st.just("")),
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 45), st.lists(steps, max_size=150))
def test_the_cache_does_what_the_model_does(capacity: int, script: list[tuple[str, str]]) -> None:
    """After every step the same keys, values, marks and evictions; never more entries than the bound."""
    cache: ClockCache[int] = ClockCache(capacity)
    look_up, mark = cache.look_up, cache.mark
    model = Model(capacity)
    for place in range(capacity):  # a full cache is where things happen
        cache.put(f"/{place}", place)
        model.put(f"/{place}", place)
    for value, (step, key) in enumerate(script, 1000):
        if step == "put":
            cache.put(key, value)
            model.put(key, value)
        elif step == "drop":
            cache.drop(key)
            model.drop(key)
        elif step == "clear":
            cache.clear()
            model = Model(capacity)
            model.evicted = cache.evictions
        else:
            for wanted in [key] if step == "hit" else model.keys():
                found = look_up(wanted)
                if found is not None:
                    mark(wanted)
                assert found == model.hit(wanted)
        assert list(cache._entries.items()) == model.entries
        assert cache._marked == model.marked <= set(model.keys())
        assert len(cache) <= capacity
        assert cache.evictions == model.evicted


def test_a_hit_key_outlives_one_that_was_not() -> None:
    """The oldest key stays when it was asked for since, and loses that with the next round."""
    cache: ClockCache[int] = ClockCache(3)
    for key in "abc":
        cache.put(key, 1)
    cache.mark("a")
    cache.put("d", 1)
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    cache.put("e", 1)
    assert [key in cache for key in "acde"] == [True, False, True, True]
    cache.put("f", 1)
    assert [key in cache for key in "adef"] == [False, True, True, True]


def test_an_eviction_passes_over_a_bounded_number() -> None:
    """With every key marked, one eviction unmarks 32 and takes the next: no sweep of a million keys in one request."""
    cache: ClockCache[int] = ClockCache(100)
    for number in range(100):
        cache.put(str(number), number)
        cache.mark(str(number))
    cache.put("new", 1)
    assert "32" not in cache
    assert len(cache._marked) == 100 - CHANCES - 1
    assert len(cache) == 100


def test_a_cache_of_no_capacity_keeps_nothing() -> None:
    """Zero switches it off."""
    cache: ClockCache[int] = ClockCache(0)
    cache.put("a", 1)
    cache.drop("a")
    assert (len(cache), cache.look_up("a"), cache.evictions) == (0, None, 0)
    assert repr(cache) == "<ClockCache 0/0>"
