"""What every ledger does, whatever it is kept in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from router.errors import RequestError
from router.ledger import Correction, Intent, RequestQuery, Settlement, fold_lines
from tests.lines import (
    LEASE_MS,
    START_MS,
    correction_line,
    failure_line,
    feedback_line,
    intent_line,
    rejection_line,
    settlement_line,
)

if TYPE_CHECKING:
    from router.ledger import RequestRow
    from router.ports import Ledger

ALL = RequestQuery()
DAY_MS = 86_400_000


async def rows_of(ledger: Ledger, query: RequestQuery = ALL, **options: object) -> list[RequestRow]:
    return [row async for row in ledger.requests(query, **options)]


async def test_request_is_what_its_lines_add_up_to(ledger: Ledger) -> None:
    lines = (
        intent_line(hold_nanousd=9),
        failure_line(cost_nanousd=7),
        intent_line(attempt=2, model="flash"),
        settlement_line(attempt=2),
        correction_line(attempt=2),
        feedback_line(),
    )
    await ledger.append(*lines)
    row, stored = await ledger.request("d1")
    assert stored == lines
    assert row == fold_lines(lines)
    assert (row.cost_nanousd, row.failed_cost_nanousd) == (1_234_567 + 7 - 100, 7)
    assert (row.premium_low_nanousd, row.premium_point_nanousd, row.premium_high_nanousd) == (3999999, 4999998, 5999997)
    assert (row.model, row.outcome, row.attempts, row.usage_source) == ("flash", "answered", 2, "estimated")
    assert row.tags == {"feature": "find"}


async def test_unknown_request_is_none(ledger: Ledger) -> None:
    assert await ledger.request("nobody") is None
    assert await rows_of(ledger) == []


async def test_open_intent_shows_as_open(ledger: Ledger) -> None:
    await ledger.append(intent_line())
    row, _ = await ledger.request("d1")
    assert (row.outcome, row.cost_nanousd, row.model, row.latency_ms) == ("open", 0, "haiku", None)


async def test_lines_handed_over_are_written_in_order(ledger: Ledger) -> None:
    await ledger.append(intent_line())
    ledger.append_later(failure_line())
    await ledger.append(intent_line(attempt=2))
    ledger.append_later(settlement_line(attempt=2))
    await ledger.sync()
    _, lines = await ledger.request("d1")
    assert [type(line) for line in lines] == [Intent, Settlement, Intent, Settlement]


@pytest.mark.parametrize(
    "line", [intent_line(), settlement_line(), rejection_line(), correction_line(), feedback_line()]
)
async def test_same_line_twice_counts_once(ledger: Ledger, line: object) -> None:
    await ledger.append(intent_line())
    await ledger.append(line)
    before = await ledger.request("d1")
    await ledger.append(line, line)
    ledger.append_later(line)
    await ledger.sync()
    assert await ledger.request("d1") == before


async def test_first_settlement_stands(ledger: Ledger) -> None:
    await ledger.append(intent_line(), settlement_line())
    await ledger.append(settlement_line(cost_nanousd=99, outcome="failed"))
    row, lines = await ledger.request("d1")
    assert row.cost_nanousd == 1_234_567
    assert len(lines) == 2


async def test_lease_closes_at_the_hold_only_once_it_has_run_out(ledger: Ledger) -> None:
    await ledger.append(intent_line(hold_nanousd=777))
    assert await ledger.close_expired(START_MS + LEASE_MS - 1) == 0
    assert await ledger.close_expired(START_MS + LEASE_MS) == 1
    assert await ledger.close_expired(START_MS + LEASE_MS) == 0
    row, _ = await ledger.request("d1")
    assert (row.outcome, row.cost_nanousd, row.failed_cost_nanousd) == ("expired", 777, 777)
    assert (row.usage_source, row.is_modelled, row.error_code) == ("estimated", False, "lease_expired")


async def test_late_settlement_corrects_the_lease(ledger: Ledger) -> None:
    await ledger.append(intent_line(hold_nanousd=5_000_000))
    await ledger.close_expired(START_MS + LEASE_MS)
    ledger.append_later(settlement_line())
    ledger.append_later(settlement_line(cost_nanousd=1))
    await ledger.sync()
    row, lines = await ledger.request("d1")
    assert (row.cost_nanousd, row.failed_cost_nanousd, row.outcome) == (1_234_567, 0, "answered")
    assert (row.premium_point_nanousd, row.usage_source, row.input_tokens) == (5_000_000, "reported", 120)
    assert isinstance(lines[-1], Correction)
    assert lines[-1].cost_delta_nanousd == 1_234_567 - 5_000_000
    assert len(lines) == 3


async def test_settled_attempt_does_not_expire(ledger: Ledger) -> None:
    await ledger.append(intent_line(), settlement_line())
    assert await ledger.close_expired(START_MS + 10 * LEASE_MS) == 0


async def test_rejection_is_a_request_without_cost(ledger: Ledger) -> None:
    await ledger.append(rejection_line())
    row, _ = await ledger.request("d1")
    assert (row.outcome, row.error_code, row.attempts, row.cost_nanousd) == ("rejected", "no_eligible_model", 0, 0)


async def test_requests_come_by_time_filtered_and_limited(ledger: Ledger) -> None:
    for number in range(7):
        await ledger.append(
            intent_line(f"d{number}", time_ms=START_MS + number // 2, team=f"team-{number % 2}", project=None),
            settlement_line(f"d{number}"),
        )
    ids = [row.decision_id for row in await rows_of(ledger)]
    assert ids == [f"d{number}" for number in range(7)]
    assert [row.decision_id for row in await rows_of(ledger, newest_first=True)] == ids[::-1]
    assert [row.decision_id for row in await rows_of(ledger, limit=3)] == ids[:3]
    window = RequestQuery(from_ms=START_MS + 1, to_ms=START_MS + 3, team="team-1")
    assert [row.decision_id for row in await rows_of(ledger, window)] == ["d3", "d5"]
    assert await rows_of(ledger, RequestQuery(project="web")) == []
    assert len(await rows_of(ledger, RequestQuery(model="haiku", key_id="key-1"))) == 7


async def test_requests_cross_pages_without_loss(ledger: Ledger) -> None:
    await ledger.append(*(rejection_line(f"d{number:05d}") for number in range(2345)))
    for newest_first in (False, True):
        ids = [row.decision_id for row in await rows_of(ledger, newest_first=newest_first)]
        assert ids == sorted(ids, reverse=newest_first)
        assert len(set(ids)) == 2345
    assert len(await rows_of(ledger, limit=2001)) == 2001


async def test_totals_sum_exactly_by_every_group(ledger: Ledger) -> None:
    big = 4_000_000_000_000_000_001
    await ledger.append(intent_line("a", hold_nanousd=big), settlement_line("a", cost_nanousd=big))
    await ledger.append(intent_line("b", team=None, tags={}), failure_line("b", cost_nanousd=3))
    await ledger.append(rejection_line("c", time_ms=START_MS + DAY_MS, quality_tier=None))
    await ledger.append(intent_line("d", hold_nanousd=1))
    (all_of_it,) = await ledger.totals(ALL, [])
    assert all_of_it.group == ()
    assert (all_of_it.requests, all_of_it.answered, all_of_it.rejected, all_of_it.failed) == (4, 1, 1, 1)
    assert (all_of_it.cost_nanousd, all_of_it.failed_cost_nanousd) == (big + 3, 3)
    assert (all_of_it.modelled, all_of_it.estimated, all_of_it.cache_read_tokens) == (1, 1, 20)
    for name, groups in {
        "team": ["search", None],
        "project": ["web"],
        "key": ["key-1"],
        "model": ["haiku", None],
        "tier": ["balanced", None],
        "day": ["2026-10-26", "2026-10-27"],
        "hour": ["2026-10-26T07:00Z", "2026-10-27T07:00Z"],
        "minute": ["2026-10-26T07:33Z", "2026-10-27T07:33Z"],
        "tag:feature": ["find", None],
    }.items():
        totals = await ledger.totals(ALL, [name])
        assert [each.group[0] for each in totals] == groups, name
        assert sum(each.cost_nanousd for each in totals) == big + 3
        assert sum(each.requests for each in totals) == 4
    pairs = await ledger.totals(ALL, ["tag:feature", "day", "team"])
    assert [each.group for each in pairs] == [
        ("find", "2026-10-26", "search"),
        ("find", "2026-10-27", "search"),
        (None, "2026-10-26", None),
    ]


async def test_what_callers_saved_who_named_a_model_is_told_apart(ledger: Ledger) -> None:
    await ledger.append(intent_line("a"), settlement_line("a"))
    await ledger.append(
        intent_line("b", arm="pinned"),
        failure_line("b", cost_nanousd=7),
        intent_line("b", 2, arm="pinned"),
        settlement_line("b", 2),
    )
    await ledger.append(intent_line("c", arm="pinned"), failure_line("c", cost_nanousd=5))
    (totals,) = await ledger.totals(ALL, [])
    assert totals.pinned_savings_nanousd == 5_000_000 - 1_234_567, "failed attempts are told by themselves"
    by_team = await ledger.totals(ALL, ["team"], most=10)
    assert [each.pinned_savings_nanousd for each in by_team] == [totals.pinned_savings_nanousd]


async def test_totals_of_nothing_are_one_group_of_zeros(ledger: Ledger) -> None:
    (totals,) = await ledger.totals(ALL, [])
    assert (totals.requests, totals.cost_nanousd) == (0, 0)
    assert await ledger.totals(ALL, ["team"]) == ()


@pytest.mark.parametrize("name", ['x" OR 1=1', "a'; DROP TABLE requests; --", "$.feature", 'q"uo\\te', "é?", "a.b"])
async def test_tag_names_are_only_text(ledger: Ledger, name: str) -> None:
    await ledger.append(rejection_line("a", tags={name: "v'?"}), rejection_line("b"))
    totals = await ledger.totals(ALL, [f"tag:{name}"])
    assert [(each.group, each.requests) for each in totals] == [(("v'?",), 1), ((None,), 1)]


@pytest.mark.parametrize("name", ["tag:", "cost", "decision_id; --", ""])
async def test_unknown_group_is_a_request_error(ledger: Ledger, name: str) -> None:
    with pytest.raises(RequestError, match="cannot group by"):
        await ledger.totals(ALL, [name])


async def test_idempotency_key_sees_a_failure_that_was_just_handed_over(ledger: Ledger) -> None:
    await ledger.append(intent_line("a", idempotency_key="k"))
    ledger.append_later(failure_line("a"))
    assert await ledger.find_idempotent("k", "key-1") is None
    await ledger.append(intent_line("b", idempotency_key="k"))
    ledger.append_later(settlement_line("b"))
    assert await ledger.find_idempotent("k", "key-1") == "b"


async def test_idempotency_key_finds_what_was_charged(ledger: Ledger) -> None:
    await ledger.append(rejection_line("a", idempotency_key="k"))
    await ledger.append(intent_line("b", idempotency_key="k"), failure_line("b"))
    assert await ledger.find_idempotent("k", "key-1") is None
    await ledger.append(intent_line("c", idempotency_key="k"))
    assert await ledger.find_idempotent("k", "key-1") == "c"
    assert await ledger.find_idempotent("k", "key-2") is None
    assert await ledger.find_idempotent("k", None) is None
    await ledger.append(intent_line("e", idempotency_key="k", key_id=None), settlement_line("e"))
    assert await ledger.find_idempotent("k", None) == "e"


async def test_texts_that_no_database_holds_are_replaced(ledger: Ledger) -> None:
    await ledger.append(intent_line(session_id="a\0b", tags={"half\ud800": "\0"}, complexity=float("nan")))
    row, (line,) = await ledger.request("d1")
    assert row.session_id == "a\ufffdb"
    assert row.tags == {"half?": "\ufffd"}
    assert row.complexity is None
    assert row == fold_lines([line])


async def test_many_at_once_are_all_written(ledger: Ledger) -> None:
    async def one(number: int) -> None:
        await ledger.append(intent_line(f"d{number}"))
        await ledger.sync()
        ledger.append_later(settlement_line(f"d{number}", cost_nanousd=number))

    await asyncio.gather(*(one(number) for number in range(500)))
    await ledger.check()
    (totals,) = await ledger.totals(ALL, [])
    assert (totals.answered, totals.cost_nanousd) == (500, sum(range(500)))


async def test_amount_beyond_64_bits_is_refused_before_it_is_queued(ledger: Ledger) -> None:
    with pytest.raises(AssertionError):
        ledger.append_later(settlement_line(cost_nanousd=2**63))
    await ledger.check()
