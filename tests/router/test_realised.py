"""The realised loss of a tier: what labels say, how sure, and when they say too little."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from router.feedback import Label, Voice
from router.ledger import RequestTotals
from router.realised import LABELS_MIN, Tier, premium_bias, quality_rows, tiers_of

TIERS = {"premium": 0.0, "balanced": 0.05}
ROUTED = Tier(100, 50, {"shipped": 30, "calibrated": 15, "none": 5})


def label(number: int, score: float, *, model: str = "cheap", voice: str = "user", width: float = 0.02) -> Label:
    return Label(
        f"d{number}", 1, score, Voice("k1", voice), model, 0.8, "premium", 0.9, width, "quality", 0.9, "balanced", 0.05
    )


def row_of(labels: list[Label], tier: Tier = ROUTED) -> dict[str, object]:
    return quality_rows(TIERS, {"balanced": tier}, labels)[1]


def loss_of(labels: list[Label], tier: Tier = ROUTED) -> dict[str, float]:
    found = row_of(labels, tier)["realised_loss"]
    assert isinstance(found, dict)
    return found


def test_the_mean_shortfall_of_the_routed_share() -> None:
    found = loss_of([label(number, 0.8) for number in range(400)])
    assert found["point"] == pytest.approx(0.5 * 0.1, abs=1e-4)
    assert found["low"] < found["point"] < found["high"]


def test_too_few_labels_say_how_many_are_missing() -> None:
    row = row_of([label(number, 1.0) for number in range(LABELS_MIN - 7)])
    assert (row["realised_loss"], row["labels"], row["labels_needed"]) == (None, LABELS_MIN - 7, 7)
    assert "7 more requests" in str(row["why"])
    assert row_of([], Tier(0, 0, {}))["why"] == "no request was answered"


def test_requests_that_premium_answered_lose_nothing_and_need_no_label() -> None:
    row = row_of([], Tier(40, 0, {}))
    assert row["realised_loss"] == {"low": 0.0, "point": 0.0, "high": 0.0}
    # Nothing was routed: no promise is not the promise `none`.
    assert (row["promise"], row["labels_needed"]) == (None, 0)


def test_many_words_on_one_answer_are_one_label() -> None:
    labels = [label(number, 1.0, voice=f"v{number}") for number in range(500)]
    same = [replace(each, decision_id="d1") for each in labels]
    assert row_of(same)["labels"] == 1
    assert row_of(labels)["labels"] == 500


def test_checks_and_other_tiers_are_no_labels() -> None:
    checks = [replace(label(number, 0.0), is_check=True) for number in range(60)]
    others = [replace(label(number, 0.0), quality_tier="economy") for number in range(60)]
    assert row_of(checks + others)["labels"] == 0


def test_what_is_not_known_of_premium_widens_the_interval_and_its_own_labels_narrow_it() -> None:
    labels = [label(number, 0.8, width=0.3) for number in range(200)]
    wide = loss_of(labels)
    premium = [label(number + 1000, 0.9, model="premium", width=0.3) for number in range(200)]
    narrow = loss_of(labels + premium)
    assert wide["high"] - wide["low"] > 0.29  # half the requests were routed: half of 2 x 0.3
    assert narrow["high"] - narrow["low"] < 0.1
    better = loss_of([*labels, *(replace(each, score=1.0) for each in premium)])
    assert better["point"] > narrow["point"] + 0.03  # premium does better than expected: more is lost
    assert premium_bias([], 0.2) == (0.0, pytest.approx(0.04))


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    rng = random.Random(5)
    covered = 0
    for _ in range(300):
        truth = 0.9 + rng.gauss(0, 0.04 / 1.96)  # premium's place, as far off as its width says
        labels = [label(number, float(rng.random() < 0.75), width=0.04) for number in range(80)]
        found = loss_of(labels, Tier(80, 80, {"shipped": 80}))
        covered += found["low"] <= truth - 0.75 <= found["high"]
    assert covered >= 0.93 * 300


@pytest.mark.parametrize(("sessions", "length"), [(40, 5), (50, 12), (35, 1)])
def test_requests_of_one_session_are_no_witnesses_of_their_own(sessions: int, length: int) -> None:
    """All of a session succeed or fail together: the interval still covers the truth nineteen times in twenty."""
    rng = random.Random(7)
    told = {
        (session, score): [
            replace(label(session * 100 + number, score, width=0.0), session_id=f"s{session}")
            for number in range(length)
        ]
        for session in range(sessions)
        for score in (0.0, 1.0)
    }
    covered = 0
    for _ in range(200):
        labels = [each for session in range(sessions) for each in told[session, float(rng.random() < 0.75)]]
        found = loss_of(labels, Tier(80, 80, {"shipped": 80}))
        covered += found["low"] <= 0.9 - 0.75 <= found["high"]
    assert covered >= 0.93 * 200


def test_many_labels_of_few_sessions_are_too_few() -> None:
    labels = [replace(label(number, 0.8), session_id=f"s{number % 4}") for number in range(400)]
    row = row_of(labels)
    assert (row["realised_loss"], row["labels"], row["labels_needed"]) == (None, 400, LABELS_MIN - 4)
    assert "26 more sessions" in str(row["why"])


def test_many_words_on_premiums_answer_are_one_label_too() -> None:
    labels = [label(number, 0.8, width=0.3) for number in range(200)]
    premium = [label(number + 1000, 0.9, model="premium", width=0.3) for number in range(5)]
    shouted = [replace(each, voice=Voice("k1", f"v{voice}")) for each in premium for voice in range(200)]
    assert loss_of([*labels, *shouted]) == loss_of([*labels, *premium])


def test_the_promise_of_a_tier_is_the_weakest_that_a_cheaper_model_answered_under() -> None:
    def totals(model: str, promise: str, answered: int) -> RequestTotals:
        return RequestTotals(("balanced", model, promise), answered, answered, *([0] * 12))

    assert tiers_of([totals("cheap", "none", 3)], "premium")["balanced"].promise == "none"
    found = tiers_of([totals("premium", "none", 7), totals("cheap", "calibrated", 3)], "premium")["balanced"]
    assert (found.answered, found.routed, found.promise) == (10, 3, "calibrated")
    assert (
        tiers_of([totals("a", "calibrated", 1), totals("b", "shipped", 1)], "premium")["balanced"].promise == "shipped"
    )
