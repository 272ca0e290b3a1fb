"""Keys to slots, slots to members: stable, even, and moving no more than they must."""

from __future__ import annotations

from collections import Counter

import pytest

from astra_core.workflow.slots import SLOTS, SlotMap, slot_of

KEYS = [f"link-{number:06}" for number in range(100_000)]
SIXTEEN = [f"worker-{number}" for number in range(16)]


def test_a_key_never_changes_its_slot() -> None:
    """The slots of these keys are written down: another version of the program must find the same."""
    assert [slot_of(key) for key in ("", "a", "link-000001", "é", "\U0001f642")] == [0, 579, 253, 318, 297]


def test_keys_spread_evenly_over_the_slots() -> None:
    """All 1,024 slots have keys, and none more than half as many again as it should."""
    counts = Counter(map(slot_of, KEYS))
    assert len(counts) == SLOTS
    assert max(counts.values()) < 1.5 * len(KEYS) / SLOTS


def test_every_slot_has_one_owner_whatever_order_the_names_come_in() -> None:
    """All processes come to the same map from the same names, alone."""
    one, two = SlotMap(SIXTEEN), SlotMap(reversed(SIXTEEN))
    assert one.owners == two.owners
    assert sum(len(one.slots_of(name)) for name in SIXTEEN) == SLOTS
    assert one.owner_of("link-000001") == one.owners[slot_of("link-000001")]


def test_the_map_of_nobody_has_no_owners() -> None:
    """And that of one member gives it everything."""
    assert SlotMap(()).owner_of("a") is None
    assert SlotMap(()).slots_of("a") == frozenset()
    assert SlotMap(["a"]).slots_of("a") == frozenset(range(SLOTS))


def test_members_have_about_equal_shares() -> None:
    """Of sixteen, none has less than half or more than half again of an even share."""
    shares = [len(SlotMap(SIXTEEN).slots_of(name)) for name in SIXTEEN]
    assert min(shares) > 0.5 * SLOTS / 16
    assert max(shares) < 1.5 * SLOTS / 16


@pytest.mark.parametrize("newcomer", [f"worker-{number}" for number in range(16, 24)])
def test_a_seventeenth_member_moves_at_most_seven_per_cent(newcomer: str) -> None:
    """Of 100,000 keys those that move go to the newcomer, and when it leaves, those alone go back."""
    before, after = SlotMap(SIXTEEN), SlotMap([*SIXTEEN, newcomer])
    moved = {key for key in KEYS if before.owner_of(key) != after.owner_of(key)}
    assert 0 < len(moved) <= 0.07 * len(KEYS)
    assert moved == {key for key in KEYS if after.owner_of(key) == newcomer}
    again = SlotMap(SIXTEEN)
    assert {key for key in KEYS if after.owner_of(key) != again.owner_of(key)} == moved
    assert again.owners == before.owners
    if newcomer == "worker-16":
        print(f"moved {len(moved)} of {len(KEYS)} keys, {len(moved) / len(KEYS):.2%}")
