"""What the book may forget, what it must not, and what keeps it small."""

from __future__ import annotations

import pytest

from router.budgets import Claim, Denial, Grant, Window
from router.budgets.book import CLOSED_MAX, LEASES_SLACK, Book
from router.budgets.terms import ENDLESS_MS
from router.budgets.transitions import ACCOUNT_KEPT_MS, CLOSED_KEPT_MS, EXPIRED_KEPT_MS
from router.money import AMOUNT_NANOUSD_MAX

DAY_MS = 24 * 3_600_000
LEASE_MS = 60_000


def day(number: int) -> Window:
    return Window(number * DAY_MS, (number + 1) * DAY_MS)


def claim(owner: str = "search", limit: int = 100, *, budget: str = "team-day", is_hard: bool = True) -> Claim:
    return Claim(budget, owner, limit, is_hard, (day(0), day(1), day(2)))


def endless(limit: int = 100) -> Claim:
    return Claim("company", "", limit, is_hard=True, windows=(Window(0, ENDLESS_MS),))


def held(book: Book, now_ms: int, name: str, amount: int, *claims: Claim) -> Grant | Denial:
    return book.reserve(
        now_ms, name, claims or (claim(),), least_nanousd=amount, most_nanousd=amount, lease_ms=LEASE_MS
    )


def test_what_is_settled_is_known_as_long_as_its_caller_may_ask_again() -> None:
    book = Book()
    first = held(book, 0, "a", 60)
    book.settle(10, "a", 40)
    book.expire(10 + CLOSED_KEPT_MS - 1)
    assert held(book, 10 + CLOSED_KEPT_MS - 1, "a", 60) == first
    assert book.balances(0, (claim(),))[0].held_nanousd == 0
    book.expire(10 + CLOSED_KEPT_MS)
    assert book.size == (1, 0)
    assert isinstance(held(book, 10 + CLOSED_KEPT_MS, "a", 60), Grant)
    assert book.balances(0, (claim(),))[0] == (claim().account(day(0)), 40, 60)


def test_what_its_lease_charged_can_be_corrected_for_a_day_and_then_no_more() -> None:
    for late_ms, settled in ((EXPIRED_KEPT_MS - 1, 5), (EXPIRED_KEPT_MS, 60)):
        book = Book()
        held(book, 0, "a", 60, endless())
        assert book.expire(LEASE_MS - 1) == ()
        assert [each.reservation_id for each in book.expire(LEASE_MS)] == ["a"]
        assert book.expire(LEASE_MS) == ()
        book.expire(LEASE_MS + late_ms)
        book.settle(LEASE_MS + late_ms, "a", 5)
        assert book.balance("company/0/").settled_nanousd == settled


def test_a_correction_of_what_expired_outlives_its_place_in_the_queue_of_the_expired() -> None:
    book = Book(expired_max=1)
    held(book, 0, "a", 10, endless())
    book.expire(LEASE_MS)
    book.settle(LEASE_MS + 1, "a", 4)
    held(book, LEASE_MS + 1, "b", 10, endless())
    held(book, LEASE_MS + 1, "c", 10, endless())
    book.expire(3 * LEASE_MS)  # b and c push the stale entry of a out
    known = held(book, 3 * LEASE_MS, "a", 10, endless())
    assert isinstance(known, Grant)
    assert book.balance("company/0/") == ("company/0/", 24, 0)


def test_an_account_is_forgotten_after_its_window_when_nothing_can_correct_it() -> None:
    book = Book()
    held(book, 0, "a", 60)
    book.settle(1, "a", 60)
    book.expire(DAY_MS + ACCOUNT_KEPT_MS - 1)
    assert book.size[0] == 1
    book.expire(DAY_MS + ACCOUNT_KEPT_MS)
    assert book.size == (0, 0)


def test_an_account_with_an_open_hold_is_never_forgotten() -> None:
    book = Book()
    book.reserve(0, "a", (claim(),), least_nanousd=60, most_nanousd=60, lease_ms=90 * DAY_MS)
    book.expire(80 * DAY_MS)
    assert book.balance(claim().account(day(0))).held_nanousd == 60
    assert [each.reservation_id for each in book.expire(90 * DAY_MS)] == ["a"]
    book.expire(90 * DAY_MS + ACCOUNT_KEPT_MS)
    assert book.size == (0, 0)


def test_an_account_without_an_end_is_never_forgotten() -> None:
    book = Book()
    held(book, 0, "a", 60, endless())
    book.settle(1, "a", 60)
    book.expire(10_000 * DAY_MS)
    assert isinstance(held(book, 10_000 * DAY_MS, "b", 41, endless()), Denial)


def test_the_newest_closed_reservations_are_kept_within_their_number() -> None:
    book = Book(closed_max=3)
    for number in range(10):
        held(book, number, f"r{number}", 1, endless())
        book.settle(number, f"r{number}", 1)
    assert book.size == (1, 3)
    assert held(book, 10, "r9", 1, endless()) == Grant("r9", 1, ("company/0/",), 90)
    assert CLOSED_MAX >= 10_000


def test_leases_that_were_renewed_do_not_pile_up() -> None:
    book = Book()
    held(book, 0, "a", 1, endless(10**9))
    for step in range(20 * LEASES_SLACK):
        assert isinstance(book.extend(step, "a", 1, lease_ms=LEASE_MS), Grant)
    assert len(book._leases) <= 3 * LEASES_SLACK
    last_ms = 20 * LEASES_SLACK - 1
    assert book.expire(last_ms + LEASE_MS - 1) == ()
    assert [each.reservation_id for each in book.expire(last_ms + LEASE_MS)] == ["a"]


def test_a_clock_that_steps_back_stands_still() -> None:
    book = Book()
    held(book, DAY_MS + 5, "a", 60)
    assert isinstance(held(book, 5, "b", 60), Denial), "yesterday's window was opened again"
    assert book.balances(5, (claim(),))[0].held_nanousd == 60
    assert book.expire(5 + LEASE_MS) == ()
    assert [each.reservation_id for each in book.expire(DAY_MS + 5 + LEASE_MS)] == ["a"]


def test_a_claim_that_names_its_account_twice_is_held_once() -> None:
    book = Book()
    held(book, 0, "a", 60, claim(), claim(limit=80))
    assert book.balances(0, (claim(),))[0].held_nanousd == 60


@pytest.mark.parametrize("amounts", [(-1, 1), (2, 1), (0, AMOUNT_NANOUSD_MAX + 1)])
def test_amounts_that_no_store_can_hold_are_a_mistake_of_ours(amounts: tuple[int, int]) -> None:
    book = Book()
    with pytest.raises(AssertionError):
        book.reserve(0, "a", (claim(),), least_nanousd=amounts[0], most_nanousd=amounts[1], lease_ms=LEASE_MS)
    assert book.size == (0, 0)


def test_money_stays_within_a_databases_integer() -> None:
    book, soft = Book(), claim(is_hard=False)
    for name in ("a", "b"):
        found = book.reserve(0, name, (soft,), least_nanousd=1, most_nanousd=AMOUNT_NANOUSD_MAX - 1, lease_ms=LEASE_MS)
        assert isinstance(found, Grant)
    assert book.balances(0, (soft,))[0].held_nanousd == AMOUNT_NANOUSD_MAX
    for name in ("a", "b"):
        book.settle(1, name, AMOUNT_NANOUSD_MAX)
    assert book.balances(0, (soft,))[0] == (soft.account(day(0)), AMOUNT_NANOUSD_MAX, 0)
    assert isinstance(held(book, 2, "c", 1, soft), Denial)
    assert isinstance(held(book, 2, "d", 0, soft), Grant)
