"""Whether a workload's prompts are still like the graded ones: no alarm without cause, one soon with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.calibration import Calibration, Calibrations, Match
from router.decide import decide
from router.drift import CALM_SHARE, PROMPTS_MAX, PROMPTS_MIN, Drift, cuts_of, drift_of, drifts_of, with_drifts
from router.ledger import RequestRow
from router.policy import Caller, Terms
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import CHEAP, DEAR, ScriptedQuality

RANDOM = np.random.default_rng(7)
GRADED = RANDOM.beta(2, 5, 300)


TEAM = Match("team", "search")


def calibration_of(match: Match = TEAM, **changes: Any) -> Calibration:
    fields: dict[str, Any] = {
        "name": "clauses", "version": 2, "match": match, "quality_revision": "quality", "premium": f"anthropic/{DEAR}",
        "shifts": {f"anthropic/{CHEAP}": 0.0, f"anthropic/{DEAR}": 0.0}, "thresholds": {0.05: 0.3}, "labels": 300,
        "support_floor": 0.0, "complexity_cuts": cuts_of(GRADED),
    }  # fmt: skip
    return Calibration(**{**fields, **changes})


def rows_of(values: Any, **changes: Any) -> list[RequestRow]:
    fields = dict.fromkeys(RequestRow._fields, None) | {
        "team": "search", "arm": "routed", "quality_revision": "quality", "tags": {},
    }  # fmt: skip
    made: Any = RequestRow
    return [made(**{**fields, "complexity": float(value), **changes}) for value in values]


def found(rows: list[RequestRow], calibration: Calibration | None = None, **before: Drift) -> Drift | None:
    mine = calibration or calibration_of()
    known = {mine.match: before["before"]} if before else {}
    return drifts_of(rows, Calibrations({mine.match: mine}), "quality", known).get(mine.match)


def test_prompts_of_the_same_kind_rarely_alarm() -> None:
    alarms = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        mine = calibration_of(complexity_cuts=cuts_of(random.beta(2, 5, 150)), labels=150)
        drift = drift_of(random.beta(2, 5, 300).tolist(), mine)
        assert drift is not None
        alarms += drift.is_over
    assert alarms <= 3, "one in a thousand is meant"


@pytest.mark.parametrize(("a", "b"), [(5, 2), (2, 2), (1, 12)])
def test_other_prompts_alarm_within_the_fewest_that_are_looked_at(a: int, b: int) -> None:
    drift = drift_of(np.random.default_rng(1).beta(a, b, PROMPTS_MIN).tolist(), calibration_of())
    assert drift is not None
    assert drift.is_over
    assert drift.why is not None
    assert "PSI" in drift.why


def test_too_few_prompts_or_an_old_version_say_nothing() -> None:
    assert drift_of([0.9] * (PROMPTS_MIN - 1), calibration_of()) is None
    assert drift_of([0.9] * PROMPTS_MIN, calibration_of(complexity_cuts=())) is None
    assert drift_of([0.9] * PROMPTS_MIN, calibration_of(labels=0)) is None
    assert cuts_of(None) == ()


def test_the_newest_of_each_workload_count_and_no_others() -> None:
    calm, odd = RANDOM.beta(2, 5, PROMPTS_MAX), [0.95] * 400
    assert found(rows_of(calm) + rows_of(odd)) is not None
    assert not found(rows_of(calm) + rows_of(odd)).is_over  # type: ignore[union-attr]
    assert found(rows_of(odd) + rows_of(calm)).is_over  # type: ignore[union-attr]
    for changes in ({"team": "legal"}, {"arm": "pinned"}, {"quality_revision": "another"}, {"complexity": None}):
        assert not found(rows_of(odd, **changes) + rows_of(calm)).is_over, changes  # type: ignore[union-attr]
    assert found(rows_of(calm[:100])) is None


def test_an_alarm_stays_until_it_is_clearly_over() -> None:
    mine = calibration_of()
    rows = rows_of(np.random.default_rng(2).beta(2.6, 5, 300))
    calm = found(rows, mine)
    assert calm is not None
    assert CALM_SHARE * calm.limit < calm.psi < calm.limit
    assert not calm.is_over
    before = Drift(mine.id, 300, 9.0, 0.25, is_over=True)
    assert found(rows, mine, before=before).is_over  # type: ignore[union-attr]
    assert not found(rows, mine, before=before._replace(calibration="clauses@1")).is_over  # type: ignore[union-attr]


def test_a_rules_workload_is_told_from_the_rest_by_the_rules_that_each_request_matched() -> None:
    rule, rest = calibration_of(Match("rule", "r")), calibration_of(Match("all"))
    both = Calibrations({each.match: each for each in (rule, rest)})
    calm, odd = RANDOM.beta(2, 5, 300), [0.95] * 300
    rows = [
        row._replace(decision_id=f"d{index}")
        for index, row in enumerate(rows_of(odd, team="other") + rows_of(calm, team="other"))
    ]
    matched = {f"d{index}": ("another", "r") for index in range(300)}
    drifts = drifts_of(rows, both, "quality", {}, matched)
    assert drifts[rule.match].is_over
    assert not drifts[rest.match].is_over
    assert drifts[rule.match].prompts == drifts[rest.match].prompts == 300
    assert set(drifts_of(rows, both, "quality", {})) == {rest.match}, "what matched no rule is no rule's"


def test_what_was_said_of_another_version_counts_for_nothing() -> None:
    mine = calibration_of()
    calibrations = Calibrations({mine.match: mine})
    drift = Drift(mine.id, 300, 0.9, 0.25, is_over=True)
    assert with_drifts(calibrations, {mine.match: drift}).drifts == {mine.match: drift.why}
    for other in (drift._replace(calibration="clauses@1"), drift._replace(is_over=False)):
        assert with_drifts(calibrations, {mine.match: other}).drifts == {}
    assert with_drifts(calibrations, {Match("all"): drift}).drifts == {}


def test_a_drifted_workload_falls_back_to_the_shipped_promise_and_says_why() -> None:
    policy = policy_of(model_of(CHEAP, tier="economy"), model_of(DEAR, output_usd="6", tier="premium"), premium=DEAR)
    quality: Any = ScriptedQuality({f"anthropic/{CHEAP}": 0.2, f"anthropic/{DEAR}": 0.0})
    mine = calibration_of(quality_revision=quality.revision)
    kept = Calibrations({mine.match: mine})
    drifted = replace(kept, drifts={mine.match: "the newest 300 prompts are unlike the graded ones"})

    def decided(calibrations: Calibrations, policy: Any = policy) -> Any:
        terms = Terms(tolerance=0.05)
        caller = Caller(team="search")
        return decide(request_of(), caller, terms, policy, quality, decision_id="dec_1", calibrations=calibrations)

    before, after = decided(kept), decided(drifted)
    assert (before.promise, before.calibration, before.alarm) == ("calibrated", mine.id, None)
    assert (after.promise, after.calibration) == ("shipped", None)
    assert after.alarm == "the newest 300 prompts are unlike the graded ones"
    assert after.labels_needed > before.labels_needed == 0
    strict = replace(policy, promise_min="calibrated")
    assert decided(kept, strict).model == before.model
    assert (decided(drifted, strict).model, decided(drifted, strict).reason) == (DEAR, "promise_not_calibrated")
