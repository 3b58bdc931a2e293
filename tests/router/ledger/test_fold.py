from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import CostRange
from router.ledger import Folio, fold_lines
from router.ledger.fold import LATE_WHY, attempt_of, decision_id_of, kind_of, line_key_of, sum_of
from router.ledger.lines import Correction
from router.tokens import TokenUsage
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

LINES = {
    "intent": intent_line(),
    "settlement": settlement_line(),
    "rejection": rejection_line(),
    "correction": correction_line(),
    "feedback": feedback_line(),
}


@pytest.mark.parametrize("kind", LINES)
def test_lines_know_their_place(kind: str) -> None:
    line = LINES[kind]
    assert kind_of(line) == kind
    assert decision_id_of(line) == "d1"
    assert attempt_of(line) == (0 if kind in ("rejection", "feedback") else 1)


def test_keys_tell_lines_apart() -> None:
    assert len({line_key_of(line) for line in LINES.values()}) == 5
    assert line_key_of(settlement_line(cost_nanousd=1)) == line_key_of(settlement_line(cost_nanousd=2))
    assert line_key_of(correction_line(delta=1)) != line_key_of(correction_line(delta=2))
    assert line_key_of(replace(correction_line(), premium_delta=None)) != line_key_of(correction_line())
    assert line_key_of(feedback_line(score=0.1)) != line_key_of(feedback_line(score=0.2))


def test_no_lines_are_no_request() -> None:
    assert fold_lines([]) is None
    assert fold_lines([feedback_line(), settlement_line(), correction_line()]) is None


def test_answer_after_a_failure_is_the_one_shown() -> None:
    second = [intent_line(attempt=2, model="b"), settlement_line("d1", 2)]
    row = fold_lines([intent_line(model="a"), failure_line(cost_nanousd=3), *second])
    assert row is not None
    assert (row.model, row.outcome, row.error_code, row.attempts) == ("b", "answered", None, 2)
    assert (row.cost_nanousd, row.failed_cost_nanousd) == (1_234_570, 3)


def test_answer_is_shown_even_if_a_later_attempt_failed() -> None:
    row = fold_lines([intent_line(), settlement_line(), intent_line(attempt=2, model="b"), failure_line(attempt=2)])
    assert row is not None
    assert (row.model, row.outcome, row.latency_ms, row.first_byte_ms) == ("haiku", "answered", 480, 120)


def test_failure_shows_the_last_tried() -> None:
    row = fold_lines([intent_line(), failure_line(), intent_line(attempt=2, model="b"), failure_line(attempt=2)])
    assert row is not None
    assert (row.model, row.outcome, row.error_code) == ("b", "failed", "provider_unavailable")
    assert (row.is_modelled, row.usage_source) == (False, "none")


def test_running_fallback_is_open() -> None:
    row = fold_lines([intent_line(), failure_line(cost_nanousd=2), intent_line(attempt=2, model="b")])
    assert row is not None
    assert (row.model, row.outcome, row.cost_nanousd, row.error_code) == ("b", "open", 2, None)


def test_tokens_add_up_over_attempts() -> None:
    tokens = TokenUsage(1, 2, 4, 8, 16, 32)
    failed = replace(failure_line(), tokens=tokens)
    row = fold_lines([intent_line(), failed, intent_line(attempt=2), settlement_line("d1", 2)])
    assert row is not None
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens) == (15 + 120, 48 + 55, 2 + 20)


@pytest.mark.parametrize("outcome", ["broken", "client_left"])
def test_cut_off_answer_that_premium_was_modelled_for_is_not_a_failure(outcome: str) -> None:
    row = fold_lines([intent_line(), settlement_line(outcome=outcome)])
    assert row is not None
    assert (row.outcome, row.failed_cost_nanousd, row.is_modelled) == (outcome, 0, True)
    row = fold_lines([intent_line(), settlement_line(outcome=outcome, premium_cost=None)])
    assert row is not None
    assert (row.failed_cost_nanousd, row.is_modelled) == (1_234_567, False)


def test_estimate_on_any_attempt_marks_the_request() -> None:
    lines = [intent_line(), failure_line(cost_nanousd=1), intent_line(attempt=2), settlement_line("d1", 2)]
    row = fold_lines(lines)
    assert row is not None
    assert row.usage_source == "estimated"
    row = fold_lines([intent_line(), failure_line(), intent_line(attempt=2), settlement_line("d1", 2)])
    assert row is not None
    assert row.usage_source == "reported"


def test_rejection_keeps_its_code_only_where_nothing_was_tried() -> None:
    row = fold_lines([rejection_line()])
    assert row is not None
    assert (row.outcome, row.error_code) == ("rejected", "no_eligible_model")
    row = fold_lines([intent_line(), settlement_line(), rejection_line()])
    assert row is not None
    assert (row.outcome, row.error_code) == ("answered", None)


def test_late_settlement_becomes_the_difference_once() -> None:
    folio = Folio()
    folio.add(intent_line(hold_nanousd=10))
    expired = folio.expired(folio.attempts[1], START_MS + LEASE_MS)
    assert (expired.cost_nanousd, expired.outcome, expired.latency_ms) == (10, "expired", LEASE_MS)
    folio.add(expired)
    late = settlement_line(cost_nanousd=25)
    correction = folio.admitted(late)
    assert correction == Correction(
        "d1", 1, late.time_ms, 15, CostRange(4_000_000, 5_000_000, 6_000_000), LATE_WHY, late=late
    )
    folio.add(correction)
    assert folio.admitted(late) is None
    assert folio.admitted(expired) is None
    row = folio.row()
    assert row is not None
    assert (row.cost_nanousd, row.outcome, row.failed_cost_nanousd, row.first_byte_ms) == (25, "answered", 0, 120)


def test_second_expiry_is_not_a_late_settlement() -> None:
    folio = Folio()
    folio.add(intent_line())
    expired = folio.expired(folio.attempts[1], START_MS)
    folio.add(expired)
    assert folio.admitted(replace(expired, time_ms=START_MS + 5)) is None


@given(st.lists(st.tuples(st.integers(0, 10**15), st.integers(-(10**9), 10**9), st.booleans()), min_size=1, max_size=6))
def test_cost_is_the_sum_of_settlements_and_corrections(attempts: list[tuple[int, int, bool]]) -> None:
    lines: list[object] = []
    for number, (cost, delta, is_answer) in enumerate(attempts, 1):
        settled = settlement_line("d1", number, cost_nanousd=cost) if is_answer else failure_line("d1", number, cost)
        lines += [intent_line("d1", number), settled, replace(correction_line("d1", number, delta), premium_delta=None)]
    row = fold_lines(lines)
    assert row is not None
    assert row.cost_nanousd == sum(cost + delta for cost, delta, _ in attempts)
    assert row.failed_cost_nanousd == sum(cost + delta for cost, delta, is_answer in attempts if not is_answer)
    assert row.premium_point_nanousd == 5_000_000 * sum(is_answer for *_, is_answer in attempts)


def test_amounts_add_end_by_end() -> None:
    assert sum_of(None, None) is None
    assert sum_of(CostRange(1, 2, 3), None) == CostRange(1, 2, 3)
    assert sum_of(CostRange(1, 2, 3), CostRange(10, 20, 30)) == CostRange(11, 22, 33)
