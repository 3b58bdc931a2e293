from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from router.cascade import PlanWhy
from router.cli import app
from router.cli.explain import PLANS, PREFIXES, REASONS, SET_ASIDE, WHY_NOT, focus_of, request_of, text_of
from router.decide import decide
from router.decision import Reason
from router.policy import Caller, Terms
from router.quality import load_quality_model
from router.receipt import choice_of_receipt
from tests.builders import model_of, policy_of

if TYPE_CHECKING:
    from click.testing import Result

POLICIES = Path(__file__).resolve().parents[3] / "policies"
PROMPT = "Prove that there are infinitely many primes of the form 4n+3."


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def explain(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments], input=stdin)


def explained(*arguments: str, stdin: bytes | None = None) -> Any:
    done = explain(*arguments, "--json", stdin=stdin)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_the_text_names_the_choice_every_candidate_and_what_moved_it() -> None:
    said = explain(PROMPT, "--tier", "balanced").output
    receipt = explained(PROMPT, "--tier", "balanced")
    first = said.splitlines()[0]
    assert first == f"{receipt['model']} answers: {REASONS[receipt['reason']]} ({receipt['reason']})"
    assert "tier balanced, tolerance 0.05" in said
    for each in receipt["candidates"]:
        [line] = [
            line for line in said.splitlines() if line.startswith(f"{each['model']} ") and " answers: " not in line
        ]
        assert f"{each['expected_cost_nanousd'] / 1e9:.9f}" in line
        assert f"{each['quality']:.3f}" in line
        assert line.endswith("chosen") is (each["model"] == receipt["model"])
    for each in receipt["contributions"]["features"][:12]:
        figure = re.escape(f"{each['predicted_loss']:+.4f}")
        assert re.search(rf"^{re.escape(each['feature'])} .*{figure}$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("tolerance", "threshold", "why_not"),
    [
        ("0.1", r"0\.\d*[1-9]\d*: what one request's predicted loss may be", "loses more than 0."),
        ("0.02", r"0\.0000: premium, or a model that is predicted to lose nothing$", "loses more than 0.0000"),
        ("0.01", r"-0\.\d+: premium, or a model that is predicted to be better by 0\.\d+$", "not that much better"),
        ("0.001", r"none: premium alone keeps it$", "only premium keeps the tolerance"),
    ],
)
def test_tolerance_and_threshold_are_told_apart(tolerance: str, threshold: str, why_not: str) -> None:
    said = explain("What is the capital of France?", "--tolerance", tolerance).output
    assert f"tolerance {tolerance}: what the mean loss may be over the requests sent with it" in said
    assert re.search(rf"^  threshold   {threshold}", said, re.MULTILINE)
    assert why_not in said
    weighed = said.split("what moved")[0]
    assert "-0.0000" not in weighed
    assert "-inf" not in weighed


def test_a_threshold_that_did_not_decide_says_why() -> None:
    said = explain("\u03be\u03be \u03c8\u03c8 \u03b2\u03b2", "--tier", "economy").output
    assert "(no_ground)" in said
    assert "; it did not decide: it holds for prompts that are known" in said
    assert set(SET_ASIDE) < set(Reason.__args__)


def test_json_is_the_receipt_that_decides_again() -> None:
    receipt = explained(PROMPT)
    choice = choice_of_receipt(receipt)
    assert choice is not None
    assert (choice.order[0], choice.reason) == (receipt["model"], receipt["reason"])
    assert receipt["contributions"]["model"] in {each["model"] for each in receipt["candidates"]}
    assert set(receipt["contributions"]["features"][0]) == {"feature", "value", "complexity", "predicted_loss"}


CASCADES = """
cascade: {verify: [refusal, schema], tiers: [balanced], catch_rate: {llama-8b: 0.9}}
"""


def test_a_cascade_says_its_plan_and_why(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    text = (POLICIES / "default.yaml").read_text()
    first = next(each["model"] for each in explained(PROMPT)["candidates"] if each["model"] != "claude-opus")
    policy.write_text(text + CASCADES.replace("llama-8b", first))
    receipt = explained(PROMPT, "--policy", str(policy))
    said = explain(PROMPT, "--policy", str(policy)).output
    plan = receipt["cascade"]
    assert (plan["verify"], plan["catch_rate"], plan["max_attempts"]) == (["refusal", "schema"], {first: 0.9}, 2)
    assert f"cascade     {PLANS[plan['why']]} ({plan['why']})" in said
    assert ("checks: refusal, schema" in said) is bool(plan["models"])
    barred = explain(PROMPT, "--policy", str(policy), "--tier", "economy").output
    assert f"cascade     {PLANS['tier']} (tier)" in barred
    assert "  cascade  " not in explain(PROMPT).output


def test_every_plan_has_words() -> None:
    assert set(PLANS) == {each for part in PlanWhy.__args__ for each in getattr(part, "__args__", (part,))}


def test_the_default_tier_is_the_policys_and_the_tolerance_wins() -> None:
    assert explained(PROMPT)["quality_tier"] == "balanced"
    assert explained(PROMPT, "--policy", "strict")["quality_tier"] == "high"
    both = explained(PROMPT, "--tier", "economy", "--tolerance", "0")
    assert (both["quality_tier"], both["tolerance"], both["model"]) == (None, 0, "claude-opus")
    assert both["reason"] == "zero_tolerance"
    assert "only premium keeps that (zero_tolerance)" in explain(PROMPT, "--tolerance", "0").output


def test_a_dash_reads_standard_input_whatever_its_bytes() -> None:
    assert explained("-", stdin=PROMPT.encode()) == explained(PROMPT)
    assert explained("-", stdin=b"\xff\xfe \x00 nonsense")["model"]
    assert explained("-", stdin=b"")["candidates"]


def test_retrieved_chunks_and_what_stands_there_twice_are_told() -> None:
    chunks = [
        f"<document>The {name} agreement renews by itself each year. {'It says more. ' * 60}</document>"
        for name in "abcdef"
    ]
    prompt = "\n\n".join([*chunks, chunks[0], "Which of them renew by themselves?"])
    receipt = explained("-", stdin=prompt.encode())
    context = receipt["context"]
    assert context["retrieved"] > 0.9 * sum(context.values())
    assert 0.5 < receipt["twice_tokens"] / (sum(context.values()) / 7) < 1.5
    said = explain("-", stdin=prompt.encode()).output
    assert f"of which {receipt['twice_tokens']:,} stand there twice" in said
    assert "twice" not in explain(PROMPT).output


def test_a_long_prompt_is_explained_too() -> None:
    said = explained("-", stdin=b"word " * 200_000)
    assert all(not each["feature"].startswith("word `") for each in said["contributions"]["features"])


def test_nothing_that_may_serve_is_a_finding(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nname: small\nmodels:\n  opus: {provider_model: anthropic/claude-opus-5-5, vendor: anthropic, "
        "tier: premium, context_window: 100, output_tokens_max: 50}\n"
        "routing: {premium: opus, quality_tiers: {premium: 0.0}, default_tier: premium}\n"
    )
    done = explain("-", "--policy", str(policy), stdin=b"word " * 1000)
    assert done.exit_code == 1
    assert "context window" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x", "--tier", "gold"], 2, "--tier: unknown quality tier; the policy has: premium, high, balanced, economy"),
        (["x", "--tolerance", "1.5"], 2, "--tolerance"),
        (["x", "--tolerance", "nan"], 2, "--tolerance"),
        (["x", "--tolerance", "-0.1"], 2, "--tolerance"),
        (["x", "--tolerance", "abc"], 2, "--tolerance"),
        ([], 2, "Missing argument"),
    ],
)
def test_a_mistake_on_the_command_line_exits_with_2(arguments: list[str], code: int, said: str) -> None:
    done = explain(*arguments)
    assert done.exit_code == code
    assert said in done.output


def test_every_reason_has_its_words() -> None:
    assert set(REASONS) == set(Reason.__args__)
    words = (POLICIES.parent / "router" / "server" / "static" / "words.js").read_text()
    for reason in Reason.__args__:
        assert f"  {reason}: [" in words, "the dashboard has no words for it"


def test_every_code_of_a_candidate_has_its_words() -> None:
    policy = policy_of(
        model_of("premium", output_usd="50", provider_model="anthropic/claude-opus-5-5", tier="premium"),
        model_of("unknown", provider_model="anthropic/nobody-knows-this"),
        model_of("short", context_window=1),
        model_of("cheap", input_usd="0.1", provider_model="deepinfra/meta-llama/Llama-3.3-70B-Instruct"),
    )
    decision = decide(
        request_of(PROMPT), Caller(allowed_models=frozenset({"premium", "unknown", "short"})), Terms(tolerance=0.0),
        policy, load_quality_model(), decision_id="dec_test",
    )  # fmt: skip
    said = text_of(decision, focus_of(decision), ())
    assert "too long for its context window" in said
    assert "no loss is accepted" in said
    assert "nothing: there is nothing to read" in said
    assert {"dearer", "no_ground", "no_placement", "not_pinned"} <= set(WHY_NOT)
    assert {"lacks", "refuses", "rule", "wire"} == set(PREFIXES)
