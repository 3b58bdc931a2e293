from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budgets import Balance, Budget, Window
from router.budgets.statement import claim_on, exhausted_ms, owners_of, stated
from router.budgets.terms import ENDLESS_MS

DAY = Window(0, 86_400_000)
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("settled", "now_ms", "expected"),
    [
        (50, 6 * HOUR_MS, 12 * HOUR_MS),
        (100, 6 * HOUR_MS, 6 * HOUR_MS),
        (150, 6 * HOUR_MS, 6 * HOUR_MS),
        (25, 6 * HOUR_MS, None),  # just at the window's end: it begins anew
        (26, 6 * HOUR_MS, -(-100 * 6 * HOUR_MS // 26)),
        (0, 6 * HOUR_MS, None),
        (50, HOUR_MS, None),  # a twentieth of the day has not passed
        (100, 0, 0),
    ],
)
def test_when_a_limit_is_reached_at_the_pace_so_far(settled: int, now_ms: int, expected: int | None) -> None:
    assert exhausted_ms(settled, 100, DAY, now_ms) == expected


def test_a_total_has_no_pace() -> None:
    assert exhausted_ms(99, 100, Window(0, ENDLESS_MS), 10**12) is None
    assert exhausted_ms(100, 100, Window(0, ENDLESS_MS), 10**12) == 10**12


@given(settled=st.integers(0, 10**18), limit=st.integers(1, 10**18), passed=st.integers(0, DAY.end_ms - 1))
def test_a_forecast_lies_between_now_and_the_end_of_the_window(settled: int, limit: int, passed: int) -> None:
    found = exhausted_ms(settled, limit, DAY, passed)
    assert found is None or passed <= found < DAY.end_ms


def test_accounts_are_told_by_how_full_they_are_each_with_its_own_limit() -> None:
    budget = Budget("team-day", "team", "day", 100, limits_nanousd={"search": 1_000})
    claims = [claim_on(budget, owner, (Window(-DAY.end_ms, 0), DAY)) for owner in ("search", "legal", "idle")]
    spent = ((300, 0), (80, 40), (0, 0))
    balances = [Balance(claim.account(DAY), *each) for claim, each in zip(claims, spent, strict=True)]
    legal, search, idle = stated(budget, claims, balances, 12 * HOUR_MS)
    assert (legal.owner, legal.settled_nanousd, legal.reserved_nanousd, legal.remaining_nanousd) == ("legal", 80, 40, 0)
    assert (search.owner, search.limit_nanousd, search.remaining_nanousd) == ("search", 1_000, 700)
    assert (idle.owner, idle.remaining_nanousd, idle.over_nanousd, idle.exhausted_ms) == ("idle", 100, 0, None)


def test_owners_are_those_that_spent_and_those_that_the_budget_names() -> None:
    budget = Budget("customers", "tag", "day", 100, tag="customer", limits_nanousd={"acme": 5})
    accounts = ["customers/0/b/c", "customers/0/a", "customers/0/z"]
    assert owners_of(budget, accounts, most=2) == ("b/c", "a", "acme")
    assert owners_of(Budget("all", "all", "day", 100), (), most=2) == ("",)
