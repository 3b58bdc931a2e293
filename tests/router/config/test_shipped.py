"""The shipped policies decide what their comments promise, by the quality model that is shipped with them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.chat import Image, Message, Text
from router.config.load import load_policy, parse_policy
from router.config.prices import load_catalog
from router.config.settings import shipped_policy
from router.decide import decide
from router.policy import Caller, Terms
from router.quality import load_quality_model
from tests.builders import request_of
from tests.router.scripted import ScriptedQuality

if TYPE_CHECKING:
    from router.decision import Decision

CATALOG = load_catalog()
QUALITY = load_quality_model()
NAMES = ("default", "strict", "local")
POLICIES = {name: load_policy(shipped_policy(name), CATALOG, date(2026, 11, 25)) for name in NAMES}
PROMPTS = (
    "What is the capital of France?",
    "Prove Fermat's little theorem.",
    "Write a haiku about rain.",
    "qzx vbw kjh",
)


def decided(
    name: str, prompt: str = PROMPTS[0], quality: object = QUALITY, caller: Caller | None = None, **terms: object
) -> Decision:
    request = request_of(prompt)
    return decide(request, caller or Caller(), Terms(**terms), POLICIES[name], quality, decision_id="dec_1")


def of_team(team: str) -> Caller:
    return Caller(key_id="k", team=team)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_each_tier_is_kept_at_no_more_than_premiums_cost(name: str, prompt: str) -> None:
    policy = POLICIES[name]
    for tier, tolerance in policy.quality_tiers.items():
        decision = decided(name, prompt, quality_tier=tier)
        assert decision.tolerance <= tolerance
        chosen, premium = decision.candidate(decision.model), decision.candidate(policy.premium)
        assert chosen.expected_cost_nanousd <= premium.expected_cost_nanousd
        if decision.model != policy.premium:
            assert chosen.predicted_loss is not None
            assert chosen.predicted_loss <= decision.threshold
    assert decided(name, prompt, tolerance=0.0).model == "claude-opus"


@pytest.mark.parametrize("name", NAMES)
def test_premium_answers_where_there_is_no_ground(name: str) -> None:
    decision = decided(name, "qzx vbw kjh plm wsx", tolerance=1.0)
    assert not decision.has_ground
    assert (decision.model, decision.reason) == ("claude-opus", "no_ground")


def test_default_goes_down_to_the_cheapest_of_three_vendors() -> None:
    policy = POLICIES["default"]
    assert {each.vendor for each in policy.models.values()} == {"anthropic", "google", "meta"}
    alike = ScriptedQuality({each.provider_model: 0.0 for each in policy.models.values()})
    decision = decided("default", quality=alike)
    cheapest = min(decision.candidates, key=lambda each: each.expected_cost_nanousd)
    assert decision.model == cheapest.model != "claude-opus"


def test_the_budgets_that_default_proposes_are_sound_and_strict_has_its_own() -> None:
    text = shipped_policy("default").read_text()
    before, marked, proposed = text.partition("# budgets:\n")
    assert marked
    asked = before + "budgets:\n" + proposed.replace("# ", "")
    budgets = parse_policy(asked.encode(), "default.yaml", CATALOG, date(2026, 11, 25)).budgets
    assert [(each.name, each.is_hard) for each in budgets] == [("company-month", True), ("team-day", True)]
    assert POLICIES["default"].budgets == ()
    assert {each.scope for each in POLICIES["strict"].budgets} == {"all", "team", "session", "request"}


def test_strict_keeps_legal_at_premium() -> None:
    for prompt in PROMPTS:
        decision = decided("strict", prompt, caller=of_team("legal"), tolerance=1.0)
        assert decision.model == "claude-opus"
        for each in decision.candidates:
            assert each.is_eligible is (each.model == "claude-opus")
            assert each.is_eligible or "rule:legal-stays-premium" in each.why_not


@pytest.mark.parametrize(
    ("team", "allowed"),
    [
        ("care", {"claude-opus", "claude-haiku"}),
        ("claims", {"claude-opus", "claude-haiku"}),
        ("research", {"claude-opus", "gemini-flash"}),
        ("anybody", {"claude-opus", "claude-haiku", "gemini-flash"}),
    ],
)
def test_strict_holds_each_teams_allow_list(team: str, allowed: set[str]) -> None:
    decision = decided("strict", caller=of_team(team), tolerance=1.0)
    assert {each.model for each in decision.candidates if each.is_eligible} == allowed
    assert set(decision.order) <= allowed


def test_strict_lets_nothing_be_lost_on_contracts() -> None:
    decision = decided("strict", tolerance=1.0, tags={"data": "contract"})
    assert (decision.model, decision.reason, decision.tolerance) == ("claude-opus", "zero_tolerance", 0.0)
    assert decided("strict", tolerance=1.0, tags={"data": "menu"}).tolerance == 1.0


def test_strict_narrows_to_premium_where_the_prompt_is_little_known() -> None:
    decision = decided("strict", "qzx vbw kjh plm wsx", tolerance=1.0)
    assert "unlike-anything-calibrated" in decision.rules
    assert {each.model for each in decision.candidates if each.is_eligible} == {"claude-opus"}
    assert "unlike-anything-calibrated" not in decided("strict", "What is the capital of France?").rules


def test_strict_drops_no_setting() -> None:
    assert POLICIES["strict"].droppable == frozenset()


def test_local_answers_for_nothing_what_it_is_good_enough_for() -> None:
    easy = ("Write a short poem about the sea.", "Translate to French: I like cheese.", "Summarise: the cat sat down.")
    decisions = [decided("local", prompt) for prompt in easy]
    at_home = [each for each in decisions if each.model == "llama-local"]
    assert at_home
    assert {(each.quality_tier, each.expected_cost_nanousd) for each in at_home} == {("economy", 0)}
    assert {decided("local", prompt, quality_tier="high").model for prompt in easy} <= {"claude-opus", "claude-haiku"}


def test_local_sends_images_to_a_model_that_sees() -> None:
    image = Message("user", (Text("What is this?"), Image(url="https://example.com/cat.png")))
    request = request_of(messages=(image,))
    decision = decide(request, Caller(), Terms(tolerance=1.0), POLICIES["local"], QUALITY, decision_id="dec_1")
    assert decision.candidate("llama-local").why_not == ("lacks:vision",)
    assert decision.model != "llama-local"


def test_shipped_policies_are_what_lies_in_the_folder() -> None:
    folder = Path(__file__).resolve().parents[3] / "policies"
    assert {path.stem for path in folder.glob("*.yaml")} == set(NAMES)
