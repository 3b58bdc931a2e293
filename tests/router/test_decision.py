from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Candidate, Decision, choose, explained
from router.receipt import choice_of_receipt, receipt_of
from tests.builders import candidate_of

PREMIUM = candidate_of("premium", loss=0.0, cost=1_000)
CHEAP = candidate_of("cheap", loss=0.04, cost=10)
MIDDLE = candidate_of("middle", loss=0.01, cost=100)


def chosen(*candidates: Candidate, **changes: object) -> tuple[tuple[str, ...], str] | None:
    settings: dict[str, object] = {
        "premium": "premium",
        "tolerance": 0.05,
        "threshold": 0.03,
        "pinned": None,
        "has_ground": True,
    }
    choice = choose(candidates, **(settings | changes))
    return None if choice is None else (choice.order, choice.reason)


def test_the_cheapest_within_the_threshold_wins_and_fallbacks_keep_the_tolerance() -> None:
    assert chosen(PREMIUM, CHEAP, MIDDLE) == (("middle", "premium"), "cheapest_within_tolerance")
    assert chosen(PREMIUM, CHEAP, MIDDLE, threshold=0.04) == (
        ("cheap", "middle", "premium"),
        "cheapest_within_tolerance",
    )


def test_tolerance_zero_is_premium_alone_even_for_a_model_predicted_to_be_better() -> None:
    better = candidate_of("better", loss=-0.2, cost=1)
    assert chosen(PREMIUM, better, tolerance=0.0, threshold=float("-inf")) == (("premium",), "zero_tolerance")


def test_without_ground_it_abstains_upward() -> None:
    assert chosen(PREMIUM, MIDDLE, has_ground=False) == (("premium",), "no_ground")


def test_a_model_without_a_prediction_never_wins_by_price() -> None:
    unknown = candidate_of("unknown", loss=None, cost=1)
    assert chosen(PREMIUM, unknown) == (("premium",), "none_within_tolerance")


def test_premium_that_is_cheapest_says_so() -> None:
    assert chosen(PREMIUM._replace(expected_cost_nanousd=1), MIDDLE) == (
        ("premium", "middle"),
        "premium_is_cheapest",
    )


def test_without_premium_the_least_loss_serves() -> None:
    out = PREMIUM._replace(is_eligible=False, why_not=("lacks:vision",))
    assert chosen(out, CHEAP, candidate_of("worse", loss=0.2, cost=1)) == (("cheap",), "premium_not_eligible")
    assert chosen(out, MIDDLE, CHEAP) == (("middle",), "cheapest_within_tolerance")


def test_pinned_is_pinned_or_nothing() -> None:
    assert chosen(PREMIUM, CHEAP, pinned="cheap") == (("cheap",), "pinned")
    assert chosen(PREMIUM, CHEAP._replace(is_eligible=False), pinned="cheap") is None


def test_nothing_eligible_is_no_choice() -> None:
    assert chosen(PREMIUM._replace(is_eligible=False)) is None


def test_ties_break_by_cost_then_name() -> None:
    twins = [candidate_of(name, loss=0.0, cost=5) for name in ("b", "a", "c")]
    choice = chosen(PREMIUM, *twins)
    assert choice is not None
    assert choice[0] == ("a", "b", "c", "premium")


candidates = st.lists(
    st.builds(
        candidate_of,
        st.sampled_from([f"m{i}" for i in range(8)]),
        loss=st.none() | st.floats(-0.5, 1.0),
        cost=st.integers(0, 10**12),
        is_eligible=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda each: each.model,
)


@given(candidates, st.floats(0, 1), st.floats(-0.1, 1), st.booleans(), st.permutations(range(7)))
def test_the_choice_keeps_the_tolerance_costs_least_and_ignores_the_order(
    others: list[Candidate], tolerance: float, threshold: float, has_ground: bool, order: list[int]
) -> None:
    everyone = [PREMIUM, *others]
    shuffled = [everyone[index] for index in order if index < len(everyone)]
    settings = {
        "premium": "premium",
        "tolerance": tolerance,
        "threshold": threshold,
        "pinned": None,
        "has_ground": has_ground,
    }
    choice = choose(everyone, **settings)
    assert choice == choose(shuffled, **settings)
    assert choice is not None
    by_name = {each.model: each for each in everyone}
    costs = [by_name[name].expected_cost_nanousd for name in choice.order]
    assert costs == sorted(costs)
    for name in choice.order:
        each = by_name[name]
        assert each.is_eligible
        if name != "premium":
            assert has_ground
            assert tolerance > 0
            assert each.predicted_loss is not None
            assert each.predicted_loss <= threshold


def decision_of(candidates: tuple[Candidate, ...], **changes: object) -> Decision:
    settings: dict[str, object] = {"tolerance": 0.05, "threshold": 0.03, "has_ground": True}
    settings |= changes
    choice = choose(candidates, premium="premium", pinned=None, **settings)
    assert choice is not None
    named = explained(candidates, choice, "premium", settings["threshold"])
    return Decision(
        decision_id="dec_1",
        model=choice.order[0],
        order=choice.order,
        reason=choice.reason,
        is_pinned=False,
        quality_tier="balanced",
        premium="premium",
        complexity=0.5,
        support=0.9,
        kind="maths",
        expected_loss=0.01,
        expected_cost_nanousd=100,
        candidates=named,
        rules=(),
        features={"bytes": 30.0},
        policy_revision="p",
        price_revision="q",
        quality_revision="r",
        **settings,
    )


@pytest.mark.parametrize("settings", [{}, {"tolerance": 0.0, "threshold": float("-inf")}, {"has_ground": False}])
def test_a_receipt_through_json_decides_the_same_again(settings: dict[str, object]) -> None:
    decision = decision_of((PREMIUM, CHEAP, MIDDLE), **settings)
    receipt = json.loads(json.dumps(receipt_of(decision), allow_nan=False))
    again = choice_of_receipt(receipt)
    assert again is not None
    assert (again.order, again.reason) == (decision.order, decision.reason)


def test_each_loser_says_why() -> None:
    unknown = candidate_of("unknown", loss=None, cost=1)
    barred = candidate_of("barred", is_eligible=False, why_not=("rule:no",))
    decision = decision_of((PREMIUM, CHEAP, MIDDLE, unknown, barred))
    assert {each.model: each.why_not for each in decision.candidates} == {
        "premium": ("dearer",),
        "cheap": ("loss_above_threshold",),
        "middle": (),
        "unknown": ("no_placement",),
        "barred": ("rule:no",),
    }
