"""The retry budget: Finagle's figures, and a model that it never leaves."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from astra_core.resilience.budget import RetryBudget, RetryBudgetParameters
from astra_core.testing import FakeClock

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"


def spent(budget: RetryBudget) -> int:
    """Retries that it grants until it refuses one."""
    count = 0
    while budget.try_withdraw():
        count += 1
    return count


def test_a_fifth_of_the_requests_and_the_floor_may_be_retried() -> None:
    """Finagle's defaults: 1,000 requests in ten seconds allow 200 retries, and the floor a further 100."""
    budget = RetryBudget(clock=FakeClock())
    for _ in range(1_000):
        budget.deposit()
    assert budget.balance == 300
    assert spent(budget) == 300
    assert budget.balance == 0


def test_the_floor_alone_serves_a_client_without_traffic() -> None:
    """Ten a second over ten seconds, and after the window they are there again."""
    clock = FakeClock()
    budget = RetryBudget(clock=clock)
    assert spent(budget) == 100
    clock.advance(8.9)
    assert spent(budget) == 0
    clock.advance(1.2)
    assert spent(budget) == 100


def test_deposits_are_forgotten_after_the_window() -> None:
    """A busy past gives no right to retry now."""
    clock = FakeClock()
    budget = RetryBudget(parameters=RetryBudgetParameters(floor=0), clock=clock)
    for _ in range(100):
        budget.deposit()
    assert budget.balance == 20
    clock.advance(10.1)
    assert budget.balance == 0
    assert not budget.try_withdraw()


def test_a_deposit_after_the_window_is_not_lost_in_an_old_slice() -> None:
    """Nobody need look at the balance in between."""
    clock = FakeClock()
    budget = RetryBudget(parameters=RetryBudgetParameters(floor=0, ratio=1.0), clock=clock)
    for seconds in (0.0, 10.0, 1.0):
        clock.advance(seconds)
        budget.deposit()
    assert budget.balance == 2


def test_a_long_idle_time_costs_one_pass_over_the_slices() -> None:
    """After a year nothing is left of before, and the budget works as new."""
    clock = FakeClock()
    budget = RetryBudget(clock=clock)
    spent(budget)
    clock.advance(365 * 86_400.0)
    assert budget.balance == 100


def test_parameters_are_swapped_while_it_runs() -> None:
    """A new ratio counts for later deposits and what is in the bucket stays; a new window starts afresh."""
    budget = RetryBudget(parameters=RetryBudgetParameters(floor=0), clock=FakeClock())
    for _ in range(10):
        budget.deposit()
    budget.parameters = RetryBudgetParameters(ratio=1.0, floor=0)
    for _ in range(10):
        budget.deposit()
    assert budget.balance == 12
    budget.parameters = RetryBudgetParameters(ratio=1.0, floor=0, window=20)
    assert budget.balance == 0


@pytest.mark.parametrize("knobs", [{"ratio": -0.1}, {"floor": -1.0}, {"window": 0.0}])
def test_knobs_that_make_no_budget_are_refused(knobs: dict[str, float]) -> None:
    """Negative shares and floors, and a window of no time."""
    with pytest.raises(ValueError, match="budget"):
        RetryBudget(parameters=RetryBudgetParameters(**knobs), clock=FakeClock())


class BudgetModel(RuleBasedStateMachine):
    """The same budget as a plain list: every deposit and withdrawal ever made, by slice of the window."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.budget = RetryBudget(clock=self.clock)
        self.booked: Counter[int] = Counter()

    def slice(self) -> int:
        """The slice that it is now."""
        return int(self.clock.monotonic() / 1.0)

    def thousandths(self) -> int:
        """The balance, by adding up what is not forgotten."""
        live = range(self.slice() - 9, self.slice() + 1)
        return sum(amount for at, amount in self.booked.items() if at in live) + 100 * 1000

    @rule(count=st.integers(1, 50))
    def requests(self, count: int) -> None:
        """First tries."""
        for _ in range(count):
            self.budget.deposit()
        self.booked[self.slice()] += 200 * count

    @rule(count=st.integers(1, 60))
    def retries(self, count: int) -> None:
        """Tries that the budget may refuse."""
        for _ in range(count):
            allowed = self.thousandths() >= 1000
            assert self.budget.try_withdraw() is allowed
            if allowed:
                self.booked[self.slice()] -= 1000

    @rule(seconds=st.one_of(st.floats(0, 3), st.floats(8, 25)))
    def time_passes(self, seconds: float) -> None:
        """Within the window or past it."""
        self.clock.advance(seconds)

    @invariant()
    def the_balances_agree(self) -> None:
        """After every step."""
        assert self.budget.balance == max(0, self.thousandths() // 1000)


BudgetModel.TestCase.settings = settings(max_examples=2500 if FULL else 300, stateful_step_count=40, deadline=None)
TestBudgetModel = BudgetModel.TestCase
TestBudgetModel.__doc__ = "Whatever is deposited, withdrawn and waited for, budget and model agree to the thousandth."
