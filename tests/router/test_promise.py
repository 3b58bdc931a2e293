"""What a decision rests on: shipped, calibrated or nothing, and what the policy demands."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from router.calibration import NO_LIMIT, Calibration, Calibrations, Match
from router.decide import decide
from router.policy import Caller, Terms
from router.receipt import choice_of_receipt, receipt_of
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import ScriptedQuality

if TYPE_CHECKING:
    from router.decision import Decision

POLICY = policy_of(model_of("premium", output_usd="50"), model_of("cheap"), model_of("other", output_usd="2"))
QUALITY = ScriptedQuality({"anthropic/premium": 0.0, "anthropic/cheap": 0.2, "anthropic/other": 0.01})
OWN = Calibration(
    name="legal", version=3, match=Match("team", "legal"), quality_revision="quality-revision",
    premium="anthropic/premium", shifts={"anthropic/premium": 0.0, "anthropic/cheap": 1.5},
    thresholds={0.05: 0.05, 0.10: 0.08}, labels=90, support_floor=0.5,
)  # fmt: skip


def decided(own: Calibration | None = OWN, team: str = "legal", **changes: Any) -> Decision:
    quality, policy = changes.pop("quality", QUALITY), changes.pop("policy", POLICY)
    held = {} if own is None else {"calibrations": Calibrations({own.match: own})}
    request = changes.pop("request", request_of())
    decision = decide(request, Caller(team=team), Terms(**changes), policy, quality, decision_id="dec_1", **held)  # type: ignore[arg-type]
    found = choice_of_receipt(json.loads(json.dumps(receipt_of(decision))))
    assert found is not None
    assert (found.order[0], found.reason) == (decision.model, decision.reason)
    return decision


def test_the_workloads_own_labels_decide() -> None:
    found = decided()
    assert (found.promise, found.calibration, found.labels_needed) == ("calibrated", "legal@3", 0)
    assert found.model == "cheap"
    assert found.candidate("cheap").placement == "labels"
    assert found.candidate("other").predicted_loss is None  # nobody graded it here


def test_others_are_decided_as_shipped() -> None:
    found = decided(team="sales")
    assert (found.promise, found.calibration, found.labels_needed) == ("shipped", None, 60)
    assert found.model == "other"
    assert decided(None, quality=replace(QUALITY, has_ground=False)).promise == "none"


def test_too_few_labels_for_the_tolerance_leave_the_shipped_promise() -> None:
    found = decided(tolerance=0.02)
    assert (found.promise, found.model, found.labels_needed) == ("shipped", "other", 60)
    bad = replace(OWN, thresholds={0.10: NO_LIMIT})
    assert decided(bad, tolerance=0.02).model == "premium"


def test_no_ground_is_needed_where_there_are_labels() -> None:
    assert decided(quality=replace(QUALITY, has_ground=False)).model == "cheap"
    found = decided(quality=replace(QUALITY, has_ground=False, support=0.4))
    assert (found.model, found.promise, found.reason) == ("premium", "none", "no_ground")


def test_a_calibration_says_nothing_beside_another_model() -> None:
    assert decided(replace(OWN, quality_revision="older")).promise == "shipped"
    assert decided(replace(OWN, premium="anthropic/former")).promise == "shipped"


def test_a_policy_may_demand_it() -> None:
    strict = replace(POLICY, promise_min="calibrated")
    found = decided(None, policy=strict)
    assert (found.model, found.reason, found.is_promise_met) == ("premium", "promise_not_calibrated", False)
    assert found.candidate("other").why_not == ("promise_not_calibrated",)
    assert decided(policy=strict).model == "cheap"


def test_nothing_is_promised_of_a_model_that_was_named() -> None:
    assert decided(request=request_of(model="cheap")).promise == "none"
