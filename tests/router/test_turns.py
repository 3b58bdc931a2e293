from __future__ import annotations

import asyncio

from router.budgets import Claim, Denial
from router.budgets.windows import ENDLESS
from router.turns import POLL_S, Turns
from tests.router.scripted import leap


def denial(budget: str = "team", owner: str = "search") -> Denial:
    return Denial(budget, owner, 100, 0, 100, 10, None)


def claim(budget: str = "team", owner: str = "search") -> Claim:
    return Claim(budget, owner, 100, is_hard=True, windows=(ENDLESS,))


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_only_the_first_may_try_and_whoever_follows_is_called_at_once() -> None:
    async def story() -> None:
        turns = Turns()
        first, second = turns.join(denial()), turns.join(denial())
        began = now_s()
        assert await turns.wait(first, 10.0)
        assert now_s() - began == POLL_S
        assert not await turns.wait(second, 10.0)
        assert now_s() - began == POLL_S + 10.0
        turns.leave(first)
        began = now_s()
        assert await turns.wait(second, 10.0)
        assert now_s() == began
        turns.leave(second)
        assert len(turns) == 0

    leap(story())


def test_money_that_comes_back_calls_the_first_of_every_line() -> None:
    async def story() -> None:
        turns = Turns()
        one, behind, other = turns.join(denial()), turns.join(denial()), turns.join(denial("key", "k"))
        turns.call()
        began = now_s()
        assert await turns.wait(one, 10.0)
        assert await turns.wait(other, 10.0)
        assert now_s() == began
        assert not behind.called.is_set()

    leap(story())


def test_a_line_stands_before_those_of_its_account_alone() -> None:
    async def story() -> None:
        turns = Turns()
        assert turns.ahead_of([claim()]) is None
        ticket = turns.join(denial())
        assert turns.ahead_of([claim("all", ""), claim()]) == denial()
        assert turns.ahead_of([claim(owner="other"), claim("key")]) is None
        turns.leave(ticket)
        assert turns.ahead_of([claim()]) is None

    leap(story())


def test_who_meets_another_account_changes_to_the_end_of_its_line() -> None:
    async def story() -> None:
        turns = Turns()
        first, second, other = turns.join(denial()), turns.join(denial()), turns.join(denial("all", ""))
        turns.stay(first, denial("all", ""))
        assert second.called.is_set()
        assert not await turns.wait(first, 0.0)
        turns.leave(other)
        assert await turns.wait(first, 10.0)
        turns.stay(first, denial("all", "")._replace(held_nanousd=5))
        assert first.denial.held_nanousd == 5
        turns.leave(first)
        turns.leave(second)
        assert len(turns) == 0

    leap(story())
