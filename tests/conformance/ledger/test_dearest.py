"""A report of ten thousand values is bounded: the dearest groups, the unallocated among them, and a rest that sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from router.ledger import RequestQuery, Spend
from tests.lines import intent_line, rejection_line, settlement_line

if TYPE_CHECKING:
    from router.ports import Ledger

VALUES = 60
BY_TAG = ("tag:customer",)


async def fill(ledger: Ledger) -> None:
    """Sixty customers, each dearer than the one before, one request of nobody's that costs least, and a refused one."""
    for number in range(VALUES):
        tags = {"customer": f"c{number:02},\u00fc'\"%_"}
        await ledger.append(
            intent_line(f"d{number}", tags=tags), settlement_line(f"d{number}", cost_nanousd=1_000 + number)
        )
    await ledger.append(intent_line("x", tags={}), settlement_line("x", cost_nanousd=1))
    await ledger.append(rejection_line("y", tags={"customer": "c00"}))


@pytest.mark.parametrize("most", [1, 5, VALUES + 2])
async def test_the_dearest_and_the_rest_sum_to_all(ledger: Ledger, most: int) -> None:
    await fill(ledger)
    [whole] = await ledger.totals(RequestQuery(), ())
    found = await ledger.totals(RequestQuery(), BY_TAG, most=most)
    assert found[0].group == (None,)
    assert found[0].cost_nanousd == 1
    named = [each for each in found if each.group]
    assert len(named) == min(most, VALUES + 2)
    costs = [each.cost_nanousd for each in named[1:]]
    assert costs == sorted(costs, reverse=True)
    for name in ("requests", "attempts", "rejected", "cost_nanousd", "premium_high_nanousd", "input_tokens"):
        assert sum(getattr(each, name) for each in found) == getattr(whole, name), name
    assert sum(each.groups for each in found) == VALUES + 2
    assert [each.group for each in found if each.groups > 1] == ([()] if most < VALUES + 1 else [])
    exact = {each.group: each for each in await ledger.totals(RequestQuery(), BY_TAG)}
    assert all(exact[each.group] == each for each in named)


async def test_accounts_of_one_window_are_found_by_their_beginning(ledger: Ledger) -> None:
    accounts = {"team-day/5/a%b": 30, "team-day/5/": 20, "team-day/5/legal/x": 10, "team-day/50/a": 99, "eam-day/5/": 9}
    for number, (account, hold) in enumerate(accounts.items()):
        await ledger.append(intent_line(f"d{number}", hold_nanousd=hold, accounts=(account,)))
    ledger.append_later(settlement_line("d1", cost_nanousd=25))
    found = await ledger.spenders("team-day/5/", most=2)
    assert list(found.items()) == [("team-day/5/a%b", Spend(0, 30)), ("team-day/5/", Spend(25, 0))]
    assert len(await ledger.spenders("team-day/5/", most=9)) == 3
