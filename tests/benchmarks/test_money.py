"""The money benchmark finds what does not add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.clients import Told
from benchmarks.invoice import ESTIMATED_UNBILLED, Verdict
from benchmarks.money import broken_connection_findings, fault_rules, report_findings, shares, told_findings
from router.ledger import RequestRow, fold_lines
from router.simulator import FAULTS
from tests.lines import intent_line, settlement_line


def row(decision_id: str = "d1", **changes: Any) -> RequestRow:
    folded = fold_lines([intent_line(decision_id), settlement_line(decision_id)])
    assert folded is not None
    return folded._replace(**changes)


TOLD = Told(0, "balanced", "chat", is_streamed=False, decision_id="d1", cost_nanousd=1_234_567, error=None)
REPORT = {
    "totals": {"realized_cost_usd": "0.001234567", "savings_usd": {"point": "0.003765433"}},
    "groups": [{"realized_cost_usd": "0.001"}, {"realized_cost_usd": "0.000234567"}],
    "waterfall": [{"usd": "0.003765433"}, {"usd": "0.000000000"}],
}


def test_books_that_agree_have_no_finding() -> None:
    assert told_findings([TOLD], [row()]) == []
    assert report_findings([row()], {"HTTP": REPORT}) == []


def test_what_a_client_was_told_must_be_in_the_ledger() -> None:
    assert "not in the ledger" in told_findings([replace(TOLD, decision_id="d2")], [row()])[0]
    assert "told 1234568" in told_findings([replace(TOLD, cost_nanousd=1_234_568)], [row()])[0]
    assert "ledger failed" in told_findings([TOLD], [row(outcome="failed")])[0]
    refused = replace(TOLD, cost_nanousd=None, error="provider_error")
    assert "answered in the ledger" in told_findings([refused], [row()])[0]
    assert told_findings([refused], [row(outcome="failed")]) == []
    assert told_findings([TOLD], [row(), row("d2")]) == ["1 requests sent, 2 in the ledger"]


def test_a_report_that_is_a_nano_dollar_off_is_found() -> None:
    assert "ledger 0.001234568" in report_findings([row(cost_nanousd=1_234_568)], {"HTTP": REPORT})[0]
    wrong = {**REPORT, "waterfall": [{"usd": "0.003765434"}]}
    assert report_findings([row()], {"HTTP": wrong}) == ["HTTP: waterfall 0.003765434, savings 0.003765433"]


def test_estimates_for_unbilled_calls_need_broken_connections() -> None:
    verdict = Verdict(attempts=Counter({ESTIMATED_UNBILLED: 2}))
    assert broken_connection_findings(verdict, {"timeout_connect": 2}) == []
    assert broken_connection_findings(verdict, {"timeout_connect": 1, "429": 5})


def test_every_fault_is_ordered_and_none_without_a_share() -> None:
    drawn = fault_rules(0.13, 7, 100)
    assert [rule["fault"] for rule in drawn] == list(FAULTS)
    assert sum(float(str(rule["rate"])) for rule in drawn) == pytest.approx(0.13)
    assert len({rule["seed"] for rule in drawn}) == len(FAULTS)
    assert fault_rules(0, 7, 1_000) == []


def test_a_share_with_room_strikes_each_vendor_with_each_fault_once() -> None:
    rules = fault_rules(0.05, 7, 1_000)
    once, drawn = [rule for rule in rules if "limit" in rule], [rule for rule in rules if "limit" not in rule]
    assert [rule["fault"] for rule in once] == [rule["fault"] for rule in drawn] == list(FAULTS)
    assert {(rule["limit"], rule["rate"]) for rule in once} == {(1, 0.01)}
    assert sum(float(str(rule["rate"])) for rule in drawn) == pytest.approx(0.05 - 39 / 1_000)


def test_shares_count_answered_requests_by_tier() -> None:
    rows = [row(), row("d2"), row("d3", outcome="failed"), row("d4", quality_tier="economy", model="llama")]
    assert shares(rows) == {"premium": {}, "high": {}, "balanced": {"haiku": 2}, "economy": {"llama": 1}}
