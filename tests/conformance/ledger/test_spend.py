"""What budgets' accounts were charged, and what guards wrote: the same in every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.budgets import OpenHold
from router.ledger import Correction, GuardTrip, Spend, TripQuery
from router.stores import rebuild_ledger
from router.stores.sql.verify import Verdict, verify
from tests.lines import LEASE_MS, START_MS, failure_line, intent_line, settlement_line

if TYPE_CHECKING:
    from pathlib import Path

    from router.ports import Ledger
    from router.stores.sql.ledger import SqlLedger

TEAM, COMPANY = "team-day/0/search", "company/0/"


async def test_an_open_attempt_is_held_and_a_settled_one_charged(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1", hold_nanousd=700, accounts=(TEAM, COMPANY)))
    await ledger.append(intent_line("d2", hold_nanousd=50, accounts=(COMPANY,)))
    assert await ledger.spend() == {TEAM: Spend(0, 700), COMPANY: Spend(0, 750)}
    ledger.append_later(settlement_line("d1", cost_nanousd=300))
    assert await ledger.spend([TEAM, COMPANY, "nobody"]) == {TEAM: Spend(300, 0), COMPANY: Spend(300, 50)}


async def test_a_lease_charges_the_hold_and_a_late_settlement_corrects_it(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1", hold_nanousd=700, accounts=(TEAM,)))
    assert await ledger.close_expired(START_MS + LEASE_MS) == 1
    assert await ledger.spend([TEAM]) == {TEAM: Spend(700, 0)}
    ledger.append_later(settlement_line("d1", cost_nanousd=300))
    assert await ledger.spend([TEAM]) == {TEAM: Spend(300, 0)}
    ledger.append_later(Correction("d1", 1, START_MS + 9, -100, None, "a credit"))
    assert await ledger.spend([TEAM]) == {TEAM: Spend(200, 0)}


async def test_budgets_are_charged_the_most_that_an_estimate_can_have_been(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1", hold_nanousd=700, accounts=(TEAM,)))
    assert await ledger.close_expired(START_MS + LEASE_MS) == 1
    ledger.append_later(settlement_line("d1", cost_nanousd=300, budget_nanousd=450))
    assert await ledger.spend([TEAM]) == {TEAM: Spend(450, 0)}
    found = await ledger.request("d1")
    assert found is not None
    assert found[0].cost_nanousd == 300


async def test_a_line_told_twice_is_charged_once(ledger: Ledger) -> None:
    for _ in range(2):
        await ledger.append(intent_line("d1", hold_nanousd=700, accounts=(TEAM,)))
        ledger.append_later(settlement_line("d1", cost_nanousd=300))
    assert await ledger.spend() == {TEAM: Spend(300, 0)}


async def test_attempts_without_accounts_are_in_no_account(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1"), settlement_line("d1"))
    assert await ledger.spend() == {}


async def test_the_sums_are_made_anew_from_the_lines(sql_ledger: SqlLedger, sql_url: str, tmp_path: Path) -> None:
    await sql_ledger.append(intent_line("d1", hold_nanousd=700, accounts=(TEAM, COMPANY)))
    await sql_ledger.append(intent_line("d2", hold_nanousd=50, accounts=(COMPANY,)))
    ledger_says = await sql_ledger.spend()
    await rebuild_ledger(sql_url, home=tmp_path)
    assert await sql_ledger.spend() == ledger_says == {TEAM: Spend(0, 700), COMPANY: Spend(0, 750)}
    found = [each async for each in verify(sql_ledger.reads, START_MS)]
    assert isinstance(found[-1], Verdict)
    assert found[-1].findings == 0


def trip(guard_id: str, **changes: object) -> GuardTrip:
    values: dict[str, object] = {
        "guard_id": guard_id,
        "time_ms": START_MS,
        "guard": "near_repeat",
        "action": "stop",
        "scope": "lineage",
        "scope_id": "lin-1",
        "team": "search",
        "evidence": {"repeats": 7, "dollars": 0.5},
        "leaked_nanousd": 1_000,
        "until_ms": START_MS + 1,
    }
    return GuardTrip(**(values | changes))  # type: ignore[arg-type]


async def test_trips_come_newest_first_and_by_owner(ledger: Ledger) -> None:
    first, second = trip("grd_1"), trip("grd_2", time_ms=START_MS + 5, team="legal", by="operator", action="release")
    await ledger.append(first, second, first)
    assert [each async for each in ledger.trips(TripQuery())] == [second, first]
    assert [each async for each in ledger.trips(TripQuery(), limit=1)] == [second]
    assert [each async for each in ledger.trips(TripQuery(team="search"))] == [first]
    assert [each async for each in ledger.trips(TripQuery(from_ms=START_MS + 1))] == [second]


async def test_a_case_may_go_up_two_rungs_within_a_millisecond(ledger: Ledger) -> None:
    slowed, stopped = trip("grd_1", action="throttle"), trip("grd_1", action="stop")
    await ledger.append(slowed)
    await ledger.append(stopped)
    await ledger.append(stopped)
    assert [each async for each in ledger.trips(TripQuery())] == [stopped, slowed]


async def test_a_trip_is_no_request(ledger: Ledger) -> None:
    await ledger.append(trip("grd_1"))
    assert await ledger.request("grd_1") is None


async def test_a_ledger_with_trips_verifies(sql_ledger: SqlLedger) -> None:
    await sql_ledger.append(trip("grd_1"), intent_line("d1", accounts=(TEAM,)), settlement_line("d1"))
    found = [each async for each in verify(sql_ledger.reads, START_MS)]
    assert isinstance(found[-1], Verdict)
    assert found[-1].findings == 0


async def test_what_stands_is_told_at_one_moment_for_a_store_that_lost_its_memory(ledger: Ledger) -> None:
    await ledger.append(intent_line("a", accounts=(TEAM,)), settlement_line("a"))
    await ledger.append(intent_line("b", accounts=(TEAM, "company/0/"), hold_nanousd=70))
    await ledger.append(intent_line("c", hold_nanousd=9))
    await ledger.append(intent_line("d", accounts=(TEAM,)), failure_line("d", cost_nanousd=3))
    await ledger.append(intent_line("d", 2, accounts=(TEAM,), hold_nanousd=5))
    spends, holds, settled = await ledger.standing(["a-1", "b-1", "d-1", "d-2", "gone-1", "lease-ab-1-2-0", "odd"])
    assert spends == await ledger.spend()
    assert settled == {"a-1", "d-1"}, "of what was asked about; what it does not know is not settled"
    assert (await ledger.standing()).settled == frozenset()
    assert {each.reservation_id: each for each in holds} == {
        "b-1": OpenHold("b-1", 70, (TEAM, "company/0/"), START_MS + LEASE_MS),
        "d-2": OpenHold("d-2", 5, (TEAM,), START_MS + LEASE_MS),
    }
    assert spends["company/0/"].open_nanousd == 70
