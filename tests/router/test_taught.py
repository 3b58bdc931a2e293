"""From the ledger's labels to a verifier, into the decision, and back from its receipt."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from router.answer_marks import MARK_NAMES
from router.calibration import Adjustment, Calibrations, Match
from router.cascade import checks_for
from router.decide import decide
from router.feedback import CHECK_SOURCE, DAY_MS, TAUGHT, Label, Voice, fold, labels_of
from router.ledger import Correction, Feedback, Folio, Settlement
from router.policy import Caller, Cascade, Terms
from router.receipt import choice_of_receipt, receipt_of, verifier_of_receipt
from router.verifier import LABELS_MIN, Verifier
from tests.builders import model_of, policy_of, request_of
from tests.lines import START_MS, intent_line, settlement_line
from tests.router.scripted import ScriptedQuality
from tests.router.test_feedback import CALIBRATIONS, MODELS, REVISION, SHARED, label

if TYPE_CHECKING:
    from router.decision import Decision
    from router.ledger import Line

NONE = (0.0,) * len(MARK_NAMES)
BAD = tuple(2.0 if name in ("cut_off", "mid_sentence") else 0.0 for name in MARK_NAMES)
CASCADE = Cascade(("refusal", "verifier"), verifier_min=0.6)
POLICY = policy_of(
    model_of("premium", input_usd="5", output_usd="25", tier="premium"), model_of("cheap"), cascade=CASCADE
)
OWN = Match("key", "k1")
IN_FORCE = Verifier(None, 120, 0, 0.2, 0.1, -0.2, {name: -0.7 if name == "cut_off" else 0.05 for name in MARK_NAMES})


def told(number: int, *, key: str, bad: bool, **changes: Any) -> Label:
    """A label of an answer that broke off, and was bad for it, or of one that did not."""
    return label(
        0.0 if bad else 1.0, key=key, number=f"{key}{number}", marks=BAD if bad else NONE, prompt=f"{key}-{number}",
        **changes,
    )  # fmt: skip


def crowd(keys: str, each: int = 30) -> list[Label]:
    return [told(number, key=key, bad=number % 4 == 0) for key in keys for number in range(each)]


def verifier_in(labels: list[Label], match: Match = SHARED.match, **changes: Any) -> Verifier | None:
    calibrations = changes.pop("calibrations", CALIBRATIONS)
    return fold(labels, calibrations, MODELS, REVISION, changes.pop("now_ms", START_MS), **changes)[match].verifier


# --- from labels to a verifier ---------------------------------------------------------------------------------------


def test_a_shared_workload_learns_from_three_keys_and_from_no_two() -> None:
    three, two = verifier_in(crowd("abc")), verifier_in(crowd("ab", 60))
    assert three is not None
    assert three.is_in_force
    assert two is not None
    assert (two.why_not, two.labels) == ("too_few_keys", 120)


def test_a_key_of_its_own_learns_alone_and_from_what_it_said_itself() -> None:
    own = [replace(each, team=None) for each in crowd("k", 120)]
    found = fold([*own, *crowd("abc")], CALIBRATIONS, MODELS, REVISION, START_MS)
    mine = found[Match("key", "k")].verifier
    assert mine is not None
    assert mine.is_in_force
    assert found[SHARED.match].verifier == verifier_in(crowd("abc"))


def test_labels_of_answers_without_marks_and_of_failed_checks_teach_nothing() -> None:
    without = [replace(each, marks=None) for each in crowd("abc")]
    assert verifier_in(without) is None
    checks = [
        replace(
            each, voice=Voice(each.key_id, CHECK_SOURCE), is_check=True, score=0.0, marks=NONE, prompt=f"c{each.prompt}"
        )
        for each in crowd("abc")
    ]
    plain = verifier_in(crowd("abc"))
    assert verifier_in([*crowd("abc"), *without]) is not None
    moved = verifier_in([*crowd("abc"), *checks])
    assert plain is not None
    assert moved is not None
    assert (moved.labels, moved.is_in_force) == (plain.labels, True)


def test_one_prompt_asked_a_hundred_times_is_one() -> None:
    found = verifier_in([replace(each, prompt="the same") for each in crowd("abc")])
    assert found is not None
    assert (found.why_not, found.labels) == ("too_few_labels", 1)
    unknown = verifier_in([replace(each, prompt="") for each in crowd("abc")])
    assert unknown is not None
    assert unknown.labels == 90, "where the prompt is not known, each decision stands for itself"


def test_ten_thousand_thumbs_of_one_key_put_nothing_in_force() -> None:
    loud = [told(number, key="loud", bad=number % 2 == 0) for number in range(10_000)]
    alone = verifier_in(loud)
    assert alone is not None
    assert alone.why_not == "too_few_keys"
    # Three that say nothing by the marks, and one that says anything by them.
    rng = np.random.default_rng(1)
    honest = [
        replace(each, score=float(rng.random() < 0.8), marks=BAD if rng.random() < 0.2 else NONE)
        for each in crowd("abcdefgh", 20)
    ]
    before = verifier_in(honest)
    assert before is not None
    assert not before.is_in_force
    beside = verifier_in([*honest, *loud])
    assert beside is not None
    assert beside.why_not == "not_proven"


def test_what_was_rolled_back_or_faded_away_teaches_nothing() -> None:
    assert fold(crowd("abc"), CALIBRATIONS, MODELS, REVISION, START_MS, forgotten_ms=START_MS) == {}
    old = verifier_in(crowd("abc"), now_ms=START_MS + 40 * DAY_MS)
    assert old is not None
    assert old.why_not == "faded"


def test_the_order_of_the_labels_means_nothing() -> None:
    labels = crowd("abc")
    assert verifier_in(labels) == verifier_in(labels[::-1])


# --- from the ledger's lines -----------------------------------------------------------------------------------------


def decided(adjustment: Adjustment | None = None, **changes: Any) -> Decision:
    found = {} if adjustment is None else {adjustment.match: adjustment}
    policy = replace(POLICY, cascade=changes.pop("cascade", CASCADE))
    quality = ScriptedQuality({"anthropic/premium": 0.0, "anthropic/cheap": 0.01})
    return decide(
        changes.pop("request", request_of()), Caller(key_id="k1"), Terms(), policy, quality,  # type: ignore[arg-type]
        decision_id="d1", calibrations=Calibrations({}, found),
    )  # fmt: skip


def labels_in(*more: Line, end: Settlement | None = None) -> list[Label]:
    intent = intent_line(model="cheap", key_id="k1", premium="premium", quality_revision=REVISION, prompt_hash="p1")
    receipt = json.loads(json.dumps(receipt_of(decided())))
    lines: tuple[Line, ...] = (replace(intent, receipt=receipt), end or settlement_line(marks=BAD), *more)
    folio = Folio()
    for line in lines:
        folio.add(line)
    row = folio.row()
    assert row is not None
    return labels_of(row, lines)


THUMB = Feedback("d1", START_MS + 900, 0.0, "user", "k1")


def test_a_label_has_the_marks_of_the_answer_that_it_is_about() -> None:
    (found,) = labels_in(THUMB)
    assert (found.marks, found.prompt) == (BAD, "p1")
    (other,) = labels_in(THUMB, end=settlement_line(marks=(1.0, 2.0)))
    assert other.marks is None, "another release's marks"
    (none,) = labels_in(THUMB, end=settlement_line())
    assert none.marks is None
    # The first answer failed a check and went to nobody; who judges has read the second.
    second = replace(intent_line(model="premium", key_id="k1"), attempt=2, receipt=None)
    ends = (second, settlement_line(attempt=2, marks=NONE), THUMB)
    passed_over = settlement_line(outcome="escalated", marks=BAD, error_code="check_failed:refusal")
    judged, checked = labels_in(*ends, end=passed_over)
    assert (judged.model, judged.marks, judged.is_check) == ("premium", NONE, False)
    assert (checked.model, checked.marks, checked.is_check) == ("cheap", None, True)


def test_an_answer_whose_lease_ran_out_first_has_its_marks_all_the_same() -> None:
    expired = settlement_line(outcome="expired", tokens=None)
    late = Correction("d1", 1, START_MS + 800, -5, None, "late", late=settlement_line(marks=BAD))
    (found,) = labels_in(late, THUMB, end=expired)
    assert found.marks == BAD


def test_what_labels_taught_is_no_label_of_the_model() -> None:
    # Else each answer that the verifier doubts would make it doubt the next one more.
    second = replace(intent_line(model="premium", key_id="k1"), attempt=2, receipt=None)
    ends = (second, settlement_line(attempt=2, marks=NONE))
    doubted = settlement_line(outcome="escalated", marks=BAD, error_code=TAUGHT)
    assert labels_in(*ends, end=doubted) == []
    refused = replace(doubted, error_code="check_failed:refusal")
    assert [each.is_check for each in labels_in(*ends, end=refused)] == [True]


# --- in the decision -------------------------------------------------------------------------------------------------


def test_it_is_a_check_only_where_it_is_in_force() -> None:
    names = ("refusal", "verifier")
    assert checks_for(names, request_of()) == ("refusal",)
    assert checks_for(names, request_of(), Verifier("not_proven")) == ("refusal",)
    assert checks_for(names, request_of(), IN_FORCE) == names


def test_a_plan_says_what_was_taught_and_why_nothing_is_checked() -> None:
    alone = replace(CASCADE, verify=("verifier",))
    plan = decided(cascade=alone).cascade
    assert plan is not None
    assert (plan.why, plan.models) == ("no_check_applies", ())
    assert plan.verifier == Verifier("no_labels", 0, LABELS_MIN, chance_min=0.6)
    waiting = Adjustment(OWN, {}, 20, 1, version=3, verifier=Verifier("too_few_labels", 20, 30))
    plan = decided(waiting, cascade=alone).cascade
    assert plan is not None
    assert plan.verifier == Verifier("too_few_labels", 20, 30, version="feedback@3", chance_min=0.6)
    plan = decided(Adjustment(OWN, {}, 120, 1, version=4, verifier=IN_FORCE), cascade=alone).cascade
    assert plan is not None
    assert (plan.why, plan.models) == ("safety_net", ("cheap", "premium"))
    assert plan.verifier == IN_FORCE._replace(version="feedback@4", chance_min=0.6)


def test_it_lets_no_model_serve_that_may_not_and_changes_no_choice() -> None:
    taught = Adjustment(OWN, {}, 120, 1, version=4, verifier=IN_FORCE)
    with_it, without = decided(taught), decided()
    assert (with_it.model, with_it.order, with_it.promise) == (without.model, without.order, without.promise)
    assert with_it.candidates == without.candidates


@pytest.mark.parametrize("adjustment", [None, Adjustment(OWN, {}, 120, 1, version=4, verifier=IN_FORCE)])
def test_a_receipt_decides_the_same_again_and_gives_the_verdict_again(adjustment: Adjustment | None) -> None:
    decision = decided(adjustment)
    receipt = json.loads(json.dumps(receipt_of(decision), sort_keys=True))
    choice = choice_of_receipt(receipt)
    assert choice is not None
    assert choice.plan == decision.cascade
    assert (choice.order, choice.reason) == (decision.order, decision.reason)
    judge, plan = verifier_of_receipt(receipt), decision.cascade
    assert plan is not None
    assert judge == plan.verifier
    assert judge is not None
    quality = decision.candidate("cheap").quality
    for marks in (NONE, BAD):
        assert judge.doubts(quality, marks) == (adjustment is not None and marks == BAD)


def test_a_policy_without_it_has_the_receipt_that_it_had() -> None:
    taught = Adjustment(OWN, {}, 120, 1, version=4, verifier=IN_FORCE)
    receipt = receipt_of(decided(taught, cascade=Cascade(("refusal",))))
    assert isinstance(receipt["cascade"], dict)
    assert "verifier" not in receipt["cascade"]
    assert verifier_of_receipt(receipt) is None
    assert verifier_of_receipt({"cascade": None}) is None
