"""Every difference between ledger and bill falls into the class that explains it, or into one that fails the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import invoice
from benchmarks.invoice import Verdict, attempts_of, billed_nanousd, verdict_of
from router.ledger import Correction
from tests.lines import START_MS, correction_line, failure_line, intent_line, settlement_line

if TYPE_CHECKING:
    from router.ledger import Line

COST = 1_234_567


def bill_line(attempt_id: str = "d1-1", cost_usd: str = "0.001234567", fault: str | None = None) -> dict[str, Any]:
    return {"client_request_id": attempt_id, "cost_usd": cost_usd, "fault": fault}


def judged(lines: list[Line], *bill: dict[str, Any]) -> Verdict:
    return verdict_of(attempts_of(lines), bill)


ESTIMATE = settlement_line(usage_source="estimated", outcome="broken", error_code="provider_error")
CUT = failure_line(cost_nanousd=50)
EXPIRED = settlement_line(outcome="expired", usage_source="estimated", cost_nanousd=5_000_000)


@pytest.mark.parametrize(
    ("lines", "bill", "expected"),
    [
        ([intent_line(), settlement_line()], [bill_line()], invoice.EQUAL),
        ([intent_line(), settlement_line()], [bill_line(cost_usd="0.0012345674")], invoice.EQUAL),
        ([intent_line(), failure_line()], [], invoice.UNBILLED),
        ([intent_line(), ESTIMATE], [bill_line(fault="torn_stream")], invoice.ESTIMATED),
        ([intent_line(), replace(CUT, error_code="provider_timeout")], [bill_line()], invoice.ESTIMATED),
        ([intent_line(), replace(CUT, error_code="ledger_unavailable")], [bill_line()], invoice.ESTIMATED),
        ([intent_line(), CUT], [], invoice.ESTIMATED_UNBILLED),
        ([intent_line(), EXPIRED], [bill_line()], invoice.EXPIRED),
        ([intent_line(), EXPIRED], [], invoice.EXPIRED_UNBILLED),
        ([], [bill_line()], invoice.MISSING),
        ([intent_line(), failure_line()], [bill_line()], invoice.UNCHARGED),
        ([intent_line(), settlement_line()], [], invoice.PHANTOM),
        ([intent_line(), replace(CUT, error_code="provider_error")], [], invoice.PHANTOM),
        ([intent_line(), settlement_line()], [bill_line(cost_usd="0.001234568")], invoice.DIFFERENT),
        ([intent_line(), ESTIMATE], [bill_line()], invoice.UNFOUNDED),
        ([intent_line(), settlement_line(), settlement_line()], [bill_line()], invoice.DOUBLED_LINE),
        ([intent_line()], [bill_line()], invoice.OPEN),
    ],
)
def test_each_case_has_its_class(lines: list[Line], bill: list[dict[str, Any]], expected: str) -> None:
    verdict = judged(lines, *bill)
    assert dict(verdict.attempts) == {expected: 1}
    assert bool(verdict.unexplained) == (expected in invoice.UNEXPLAINED)
    assert verdict.shown()["classes"][expected]["attempts"] == 1  # type: ignore[index]


def test_how_far_charges_lie_from_their_bills_does_not_cancel_out() -> None:
    def lines(name: str) -> list[Line]:
        settled = settlement_line(decision_id=name, usage_source="estimated", outcome="broken", cost_nanousd=100)
        return [intent_line(decision_id=name), settled]

    attempts = [*attempts_of(lines("a")), *attempts_of(lines("b"))]
    bill = [bill_line(f"{name}-1", f"0.000000{nano}", "torn_stream") for name, nano in (("a", "070"), ("b", "130"))]
    verdict = verdict_of(attempts, bill)
    assert verdict.charged_nanousd[invoice.ESTIMATED] == verdict.billed_nanousd[invoice.ESTIMATED] == 200
    assert verdict.off_nanousd[invoice.ESTIMATED] == 60
    assert verdict.by_cause[f"{invoice.ESTIMATED}: torn_stream"]["off_nanousd"] == 60


def test_a_call_that_was_billed_twice_is_found() -> None:
    verdict = judged([intent_line(), settlement_line()], bill_line(), bill_line())
    assert dict(verdict.attempts) == {invoice.EQUAL: 1, invoice.DOUBLED_BILL: 1}
    assert verdict.billed_nanousd[invoice.DOUBLED_BILL] == COST


def test_each_attempt_is_matched_for_itself() -> None:
    lines: list[Line] = [intent_line(), failure_line(), intent_line(attempt=2), settlement_line(attempt=2)]
    verdict = judged(lines, bill_line("d1-2"))
    assert dict(verdict.attempts) == {invoice.UNBILLED: 1, invoice.EQUAL: 1}


def test_corrections_count_and_a_late_settlement_is_the_last_word() -> None:
    (corrected,) = attempts_of([intent_line(), settlement_line(), correction_line(delta=-100)])
    assert corrected.cost_nanousd == COST - 100
    late = Correction("d1", 1, START_MS + 900, COST - 5_000_000, None, "late", late=settlement_line())
    assert dict(judged([intent_line(), EXPIRED, late], bill_line()).attempts) == {invoice.EQUAL: 1}


@pytest.mark.parametrize(("cost", "expected"), [("0.0000000005", 0), ("0.0000000015", 2), ("0.00000000051", 1)])
def test_an_invoice_line_is_rounded_once_half_to_even(cost: str, expected: int) -> None:
    assert billed_nanousd({"cost_usd": cost}) == expected
