"""What labels may move, and what no single voice can."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.calibration import Adjustment, Calibration, Calibrations, Match, shifted
from router.decide import decide
from router.feedback import (
    ALARM_BAND,
    CHECK_SOURCE,
    DAY_MS,
    HALF_LIFE_MS,
    LOOSEN_MAX,
    TIGHTEN_MAX,
    VOICE_SHIFT_MAX,
    VOICE_WEIGHT,
    Label,
    Voice,
    fold,
    labels_of,
    posterior,
    weights_of,
)
from router.ledger import Feedback, Folio, Intent, Line
from router.policy import Caller, Terms
from router.receipt import receipt_of
from tests.builders import model_of, policy_of, request_of
from tests.lines import START_MS, intent_line, settlement_line
from tests.router.scripted import ScriptedQuality

if TYPE_CHECKING:
    from router.decision import Decision

REVISION = "quality-revision"
MODELS = {"premium": "anthropic/premium", "cheap": "anthropic/cheap"}
SHARED = Calibration(
    name="legal", version=3, match=Match("team", "legal"), quality_revision=REVISION, premium="anthropic/premium",
    shifts={"anthropic/premium": 0.0, "anthropic/cheap": 0.0}, thresholds={0.05: 0.05, 0.10: 0.08}, labels=0,
    support_floor=0.5,
)  # fmt: skip
CALIBRATIONS = Calibrations({SHARED.match: SHARED})
POLICY = policy_of(model_of("premium", output_usd="50"), model_of("cheap"))


def label(score: float, *, key: str | None = "k1", source: str = "client", at: int = START_MS, **changes: Any) -> Label:
    made = Label(
        decision_id=f"d{changes.pop('number', 0)}", time_ms=at, score=score, voice=Voice(key, source), model="cheap",
        quality=0.8, premium="premium", premium_quality=0.82, premium_width=0.05, quality_revision=REVISION,
        premium_expected=0.82,
        key_id=key, team="legal",
    )  # fmt: skip
    return replace(made, **changes)


def folded(labels: list[Label], now_ms: int = START_MS, **changes: Any) -> dict[Match, Adjustment]:
    return fold(labels, changes.pop("calibrations", CALIBRATIONS), MODELS, REVISION, now_ms, **changes)


def shift_in(labels: list[Label], match: Match = SHARED.match, **changes: Any) -> float:
    return folded(labels, **changes)[match].shifts.get("anthropic/cheap", 0.0)


def many(count: int, score: float, key: str, **changes: Any) -> list[Label]:
    return [label(score, key=key, number=f"{key}{index}", **changes) for index in range(count)]


@given(st.lists(st.tuples(st.floats(-6, 6), st.floats(0, 1), st.floats(0, 30)), min_size=1, max_size=40))
def test_a_shift_is_never_further_than_all_weight_over_the_stiffness(rows: list[tuple[float, float, float]]) -> None:
    shift, deviation = posterior(rows, 30.0)
    assert abs(shift) <= sum(weight for _, _, weight in rows) / 30.0 + 1e-12
    assert 0 < deviation <= 30.0**-0.5


@pytest.mark.parametrize("score", [0.0, 1.0])
@pytest.mark.parametrize("sources", [1, 500])
def test_ten_thousand_thumbs_of_one_key_move_a_shared_workload_by_no_more_than_the_bound(
    score: float, sources: int
) -> None:
    rng = random.Random(1)
    thumbs = [
        label(score, key="loud", source=f"s{index % sources}", number=index, at=START_MS - rng.randrange(DAY_MS))
        for index in range(10_000)
    ]
    alone = shift_in(thumbs)
    assert abs(alone) <= VOICE_SHIFT_MAX
    assert alone == 0.0 if score == 1.0 else alone < 0  # a thumb up proves nothing that nobody graded
    # At its steepest a quality moves by a quarter of its log-odds: this much of predicted loss, and no more.
    assert abs(shifted(0.5, alone) - 0.5) <= VOICE_SHIFT_MAX / 4
    # Beside honest voices that agree with the calibration, it moves them by no more than that either.
    honest = [each for key in "abcd" for each in many(40, 1.0, key)[:32] + many(40, 0.0, key)[:8]]
    beside = shift_in(thumbs + honest)
    assert abs(beside - shift_in(honest)) <= VOICE_SHIFT_MAX
    # Others' routing, which no calibration shares, does not move at all.
    assert set(folded(thumbs + [replace(each, team=None) for each in many(3, 1.0, "other")])) == {
        SHARED.match, Match("key", "other"),
    }  # fmt: skip


def test_no_single_thumb_moves_anything_much_and_many_honest_ones_do() -> None:
    assert shift_in([label(0.0)]) == 0.0
    assert shift_in([each for key in "abcdefgh" for each in many(40, 0.0, key)]) == -TIGHTEN_MAX
    assert shift_in([each for key in "abcdefgh" for each in many(400, 1.0, key)]) > 0.1
    assert shift_in([each for number in range(60) for each in many(10, 1.0, f"k{number}")]) == LOOSEN_MAX


def test_a_keys_own_workload_may_be_moved_further_but_within_the_limit() -> None:
    labels = [replace(each, team=None) for each in many(500, 0.0, "own")]
    found = folded(labels)
    assert set(found) == {Match("key", "own")}
    assert -TIGHTEN_MAX <= found[Match("key", "own")].shifts["anthropic/cheap"] < -VOICE_SHIFT_MAX


def test_labels_fade_by_half_and_end() -> None:
    labels = [label(0.0)]
    assert weights_of(labels, START_MS + HALF_LIFE_MS) == [0.5]
    crowd = [each for key in "abcdef" for each in many(10, 0.0, key)]
    now, then = shift_in(crowd), shift_in(crowd, now_ms=START_MS + HALF_LIFE_MS)
    assert now < then < 0
    assert folded(labels, now_ms=START_MS + 9 * HALF_LIFE_MS) == {}


def test_the_same_lines_give_the_same_in_whatever_order() -> None:
    rng = random.Random(3)
    labels = [
        label(rng.random(), key=rng.choice("abc"), number=index, at=START_MS - rng.randrange(30 * DAY_MS))
        for index in range(300)
    ]
    shuffled = rng.sample(labels, len(labels))
    assert folded(labels) == folded(shuffled)


def test_what_was_rolled_back_counts_for_nothing() -> None:
    assert folded([label(0.0)], forgotten_ms=START_MS) == {}
    assert folded([label(0.0, at=START_MS + 1)], now_ms=START_MS + 1, forgotten_ms=START_MS) != {}
    assert folded([label(0.0, quality_revision="older")]) == {}


def test_graded_answers_stiffen_the_prior() -> None:
    graded = Calibrations({SHARED.match: replace(SHARED, labels=400)})
    labels = many(30, 0.0, "a") + many(30, 0.0, "b") + many(30, 0.0, "c")
    assert shift_in(labels) < shift_in(labels, calibrations=graded) < 0


def test_labels_of_premium_move_what_is_expected_of_it_the_safe_way() -> None:
    praise = [replace(each, model="premium", quality=0.82) for key in "abcd" for each in many(60, 1.0, key)]
    blame = [replace(each, score=0.0) for each in praise]
    up = folded(praise)[SHARED.match].shifts["anthropic/premium"]
    down = folded(blame)[SHARED.match].shifts["anthropic/premium"]
    assert 0 < up <= TIGHTEN_MAX
    assert -LOOSEN_MAX <= down < 0


def test_an_alarm_needs_three_keys_in_a_shared_workload_and_a_shortfall_beyond_the_band() -> None:
    two = many(60, 0.2, "a") + many(60, 0.2, "b")
    assert folded(two)[SHARED.match].alarm is None
    alarmed = folded([*two, *many(60, 0.2, "c")])[SHARED.match].alarm
    assert alarmed is not None
    assert "fall 0.60 short" in alarmed
    fine = [each for key in "abc" for each in many(60, 0.8 - ALARM_BAND / 2, key)]
    assert folded(fine)[SHARED.match].alarm is None


# --- from the ledger's lines -----------------------------------------------------------------------------------------


def decided(adjustment: Adjustment | None = None, **changes: Any) -> Decision:
    found = {} if adjustment is None else {adjustment.match: adjustment}
    calibrations = (
        Calibrations({SHARED.match: SHARED}, found) if changes.pop("is_shared", True) else Calibrations({}, found)
    )
    quality = ScriptedQuality({"anthropic/premium": 0.0, "anthropic/cheap": changes.pop("loss", 0.01)})
    return decide(
        request_of(), Caller(team="legal", key_id="k1"), Terms(**changes), POLICY, quality,  # type: ignore[arg-type]
        decision_id="d1",
        calibrations=calibrations,
    )  # fmt: skip


def lines_of(decision: Decision, *more: Line) -> tuple[Any, tuple[Line, ...]]:
    folio = Folio()
    first = intent_line(model=decision.model, team="legal", key_id="k1", premium="premium", quality_revision=REVISION)
    receipt = json.loads(json.dumps(receipt_of(decision)))
    lines = (replace(first, receipt=receipt), settlement_line(), *more)
    for line in lines:
        folio.add(line)
    row = folio.row()
    assert row is not None
    return row, lines


def test_a_label_stands_beside_what_was_expected_before_any_label_moved_it() -> None:
    moved = Adjustment(SHARED.match, {"anthropic/cheap": 0.2, "anthropic/premium": -0.1}, version=4)
    plain, after = decided(), decided(moved)
    assert after.feedback == "feedback@4"
    assert after.candidate("cheap").quality != plain.candidate("cheap").quality
    said = (Feedback("d1", START_MS + 900, 0.0, "user", "k1"), Feedback("d1", START_MS + 950, 1.0, "user", "k1"))
    (first,) = labels_of(*lines_of(plain, *said))
    (second,) = labels_of(*lines_of(after, *said))
    assert first.score == 1.0  # a voice's newest word
    assert second.quality == pytest.approx(first.quality, abs=1e-9)
    assert second.premium_quality == pytest.approx(first.premium_quality, abs=1e-9)
    assert (first.model, first.premium, first.voice) == ("cheap", "premium", Voice("k1", "user"))


def test_an_answer_that_failed_a_check_is_a_label_of_its_model_and_weighs_a_quarter() -> None:
    decision = decided()
    row, lines = lines_of(decision)
    better = Intent(lines[0].subject, 2, START_MS + 600, "premium", "anthropic", 1, START_MS + 9_000)  # type: ignore[union-attr]
    ends = (replace(settlement_line(), outcome="escalated"), replace(settlement_line(), attempt=2))
    (found,) = labels_of(row, (lines[0], better, *ends))
    assert (found.model, found.score, found.voice) == ("cheap", 0.0, Voice("k1", CHECK_SOURCE))
    assert weights_of([found], found.time_ms) == [0.25]


def test_lines_without_a_receipt_say_nothing() -> None:
    folio = Folio()
    lines = (intent_line(), settlement_line(), Feedback("d1", START_MS, 1.0, "user"))
    for line in lines:
        folio.add(line)
    row = folio.row()
    assert row is not None
    assert labels_of(row, lines) == []


# --- in the decision -------------------------------------------------------------------------------------------------


def test_feedback_moves_a_calibrated_workload_both_ways_and_the_receipt_says_so() -> None:
    assert decided().model == "cheap"
    down = decided(Adjustment(SHARED.match, {"anthropic/cheap": -1.0}, version=7))
    assert (down.model, down.promise, down.feedback) == ("premium", "calibrated", "feedback@7")
    assert down.shifts == {"premium": 0.0, "cheap": -1.0}
    up = Adjustment(SHARED.match, {"anthropic/cheap": LOOSEN_MAX})
    assert decided(loss=0.06).model == "premium"
    assert decided(up, loss=0.06).model == "cheap"


def test_feedback_only_tightens_what_nobody_graded() -> None:
    own = Match("key", "k1")
    up = decided(Adjustment(own, {"anthropic/cheap": LOOSEN_MAX}), is_shared=False, loss=0.06)
    plain = decided(is_shared=False, loss=0.06)
    assert up.candidate("cheap").predicted_loss == plain.candidate("cheap").predicted_loss
    assert (up.model, up.promise) == (plain.model, "shipped")
    assert decided(Adjustment(own, {"anthropic/cheap": -1.0}), is_shared=False).model == "premium"


@pytest.mark.parametrize("is_shared", [True, False])
def test_an_alarm_takes_the_promise_away_and_premium_answers(*, is_shared: bool) -> None:
    match = SHARED.match if is_shared else Match("key", "k1")
    found = decided(Adjustment(match, {}, alarm="30 labels fall 0.40 short", version=2), is_shared=is_shared)
    assert (found.model, found.promise, found.alarm) == ("premium", "none", "30 labels fall 0.40 short")
    assert json.loads(json.dumps(receipt_of(found)))["feedback"] == "feedback@2"


def test_a_key_weighs_ten_labels_whatever_it_says_and_however_it_calls_itself() -> None:
    labels = many(400, 0.0, "loud") + many(3, 1.0, "a")
    labels += [replace(each, voice=Voice("loud", f"s{index}")) for index, each in enumerate(labels[:200])]
    weights = weights_of(labels, START_MS)
    assert sum(weight for weight, each in zip(weights, labels, strict=True) if each.voice.key_id == "loud") == (
        pytest.approx(VOICE_WEIGHT)
    )
    assert weights[400:403] == [1.0, 1.0, 1.0]
