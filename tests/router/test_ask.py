from __future__ import annotations

from typing import Any

import pytest

from router.ask import Ask, ask_of, default_tier_of
from router.errors import ModelNotAllowedError, ModelNotFoundError, TierNotAllowedError, UnknownQualityTierError
from router.policy import Caller, Terms
from tests.builders import model_of, policy_of, request_of

POLICY = policy_of(model_of("opus"), model_of("haiku"))
NOBODY = Caller()
ECONOMY = Caller(allowed_tiers=frozenset({"economy"}))
MIXED = Caller(allowed_tiers=frozenset({"high", "economy"}))
STALE = Caller(allowed_tiers=frozenset({"gone"}))
HAIKU = Caller(allowed_models=frozenset({"haiku"}))


def asked(model: str = "auto", caller: Caller = NOBODY, **terms: Any) -> Ask:
    return ask_of(request_of(model=model), caller, Terms(**terms), POLICY)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (asked, Ask(None, "balanced", 0.05)),
        (lambda: asked("auto:economy"), Ask(None, "economy", 0.15)),
        (lambda: asked("auto:economy", quality_tier="high"), Ask(None, "high", 0.02)),
        (lambda: asked(quality_tier="economy", tolerance=0.3), Ask(None, None, 0.3)),
        (lambda: asked(tolerance=0.0), Ask(None, None, 0.0)),
        (lambda: asked(tolerance=1.0), Ask(None, None, 1.0)),
        (lambda: asked("haiku"), Ask("haiku", "balanced", 0.05)),
        (lambda: asked("haiku", tolerance=0.1), Ask("haiku", None, 0.1)),
        (lambda: asked("haiku", HAIKU), Ask("haiku", "balanced", 0.05)),
        (lambda: asked(caller=ECONOMY), Ask(None, "economy", 0.15)),
        (lambda: asked(caller=MIXED), Ask(None, "economy", 0.15)),
        (lambda: asked(caller=MIXED, tolerance=0.02), Ask(None, None, 0.02)),
        (lambda: asked(caller=MIXED, tolerance=0.5), Ask(None, None, 0.5)),
    ],
)
def test_tier_tolerance_and_model_are_resolved(ask: Any, expected: Ask) -> None:
    assert ask() == expected


@pytest.mark.parametrize(
    ("ask", "error", "param"),
    [
        (lambda: asked("gpt-9"), ModelNotFoundError, "model"),
        (lambda: asked("AUTO"), ModelNotFoundError, "model"),
        (lambda: asked("auto:"), None, None),
        (lambda: asked("auto:best"), UnknownQualityTierError, "quality_tier"),
        (lambda: asked(quality_tier="best"), UnknownQualityTierError, "quality_tier"),
        (lambda: asked(quality_tier="best", tolerance=0.5), UnknownQualityTierError, "quality_tier"),
        (lambda: asked("opus", HAIKU), ModelNotAllowedError, "model"),
        (lambda: asked(caller=ECONOMY, quality_tier="premium"), TierNotAllowedError, "quality_tier"),
        (lambda: asked("auto:premium", ECONOMY), TierNotAllowedError, "quality_tier"),
        (lambda: asked(caller=ECONOMY, tolerance=0.1499), TierNotAllowedError, "quality_tolerance"),
        (lambda: asked(caller=MIXED, tolerance=0.0), TierNotAllowedError, "quality_tolerance"),
        (lambda: asked(caller=STALE), TierNotAllowedError, "quality_tier"),
        (lambda: asked(caller=STALE, tolerance=1.0), TierNotAllowedError, "quality_tier"),
    ],
)
def test_what_may_not_be_asked_is_refused_by_name(ask: Any, error: Any, param: str | None) -> None:
    if error is None:
        assert ask() == Ask(None, "balanced", 0.05), "an empty tier is the default one"
        return
    with pytest.raises(error) as caught:
        ask()
    assert caught.value.param == param


def test_a_refusal_repeats_nothing_that_the_caller_made_up() -> None:
    for ask in (lambda: asked("my-secret"), lambda: asked("auto:my-secret"), lambda: asked(quality_tier="my-secret")):
        with pytest.raises((ModelNotFoundError, UnknownQualityTierError)) as caught:
            ask()
        assert "my-secret" not in caught.value.message


def test_a_key_of_several_tiers_gets_the_laxest_where_the_default_is_not_among_them() -> None:
    assert default_tier_of(POLICY, MIXED) == "economy"
    assert default_tier_of(POLICY, Caller(allowed_tiers=frozenset({"premium", "balanced"}))) == "balanced"
    assert default_tier_of(POLICY, Caller(allowed_tiers=frozenset({"premium", "gone"}))) == "premium"


@pytest.mark.parametrize(
    ("caller", "may"),
    [
        (NOBODY, True),
        (ECONOMY, False),
        (MIXED, False),
        (Caller(allowed_tiers=frozenset({"premium", "economy"})), True),
        (Caller(allowed_tiers=frozenset({"economy"}), allowed_models=frozenset({"opus"})), True),
        (Caller(allowed_tiers=frozenset({"premium"}), allowed_models=frozenset({"haiku"})), False),
    ],
)
def test_a_key_that_must_accept_a_loss_cannot_name_premium(caller: Caller, may: bool) -> None:
    if may:
        assert asked("opus", caller).pinned == "opus"
    else:
        with pytest.raises(ModelNotAllowedError):
            asked("opus", caller)
