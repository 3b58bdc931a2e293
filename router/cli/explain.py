"""``tollgate explain``: the decision for a prompt, without sending it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from router.chat import Message, Request, Text
from router.cli.contributions import contributions_of
from router.cli.table import table_text
from router.cli.verifier_text import verifier_line
from router.config import calibrations, learned
from router.config.drifts import read_drifts
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.decide import decide
from router.drift import with_drifts
from router.errors import AdmissionError, ConfigError, ContextLengthExceededError, UnknownQualityTierError
from router.money import usd_of
from router.policy import Caller, Terms
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model
from router.receipt import receipt_of
from router.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from router.calibration import Adjustment, Calibrations, Match
    from router.cli.contributions import Contribution
    from router.decision import Candidate, Decision
    from router.policy import Policy
    from router.quality import QualityModel

SHOWN = 12
REASONS = {
    "cheapest_within_tolerance": "the cheapest whose predicted loss is within the threshold",
    "premium_is_cheapest": "premium costs least of all within the threshold",
    "zero_tolerance": "no loss is accepted: only premium keeps that",
    "no_ground": "the prompt is unlike anything that the quality model knows: premium, to be safe",
    "none_within_tolerance": "every cheaper model is predicted to lose more than the threshold",
    "premium_not_eligible": "premium may not serve it: the least predicted loss of those that may",
    "pinned": "the model was named",
    "promise_not_calibrated": "the policy demands a calibrated promise, and this workload has none: premium",
    "guard_downgrade": "the cheapest, since a guard tripped",
    "budget_downgrade": "the best that the budgets have room for",
    "cascade": "cheapest first, for with its answer checked it is within the threshold",
}
PLANS = {
    "checks_keep_the_tolerance": "checks keep the threshold for less than the cheapest that keeps it alone",
    "safety_net": "a safety net: the next answers where a check fails",
    "nothing_better": "not used: no other model within the threshold is predicted to lose less",
    "dearer_with_checks": "not used: the better model at once is expected to cost no more",
    "pinned": "not used: the model was named",
    "streamed": "not used: streams are not held back for checks",
    "tier": "not used: not among the cascade's tiers",
    "no_check_applies": "not used: none of the checks can say anything of such a request",
}
WHY_NOT = {
    "dearer": "dearer",
    "loses_more": "loses more than another that the budgets have room for",
    "budget": "the budgets have no room for it",
    "zero_tolerance": "no loss is accepted",
    "no_ground": "nothing is known of such prompts",
    "no_placement": "nothing is known of its quality",
    "not_pinned": "another model was named",
    "context_window": "too long for its context window",
    "key": "the key does not allow it",
    "no_api_key": "its provider's key is not set",
}
# Why the threshold decided nothing: the order of the models does not follow from it.
SET_ASIDE = {
    "pinned": "the model was named",
    "no_ground": "it holds for prompts that are known",
    "promise_not_calibrated": "the policy demands a calibration",
    "premium_not_eligible": "premium may not serve",
    "guard_downgrade": "a guard tripped",
    "budget_downgrade": "the budgets have no room",
}
PREFIXES = {"lacks": "lacks", "refuses": "refuses", "rule": "kept out by the rule", "wire": "its API cannot say"}


def explain_prompt(
    prompt: str,
    *,
    tier: str | None,
    tolerance: float | None,
    policy: str | None,
    as_json: bool,
    team: str | None = None,
    tags: Sequence[str] = (),
    home: str | None = None,
) -> int:
    """Decide and print; returns 0, or 1 where nothing may serve the prompt. Raises BadParameter and ConfigError."""
    text = sys.stdin.buffer.read().decode("utf-8", "replace") if prompt == "-" else prompt
    if tolerance is not None and not 0 <= tolerance <= 1:
        raise typer.BadParameter("must be a number in 0..1", param_hint="--tolerance")
    settings = load_settings(policy=policy, home=home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    request = request_of(text)
    terms = Terms(quality_tier=tier, tolerance=tolerance, tags=tags_of(tags))
    quality = load_quality_model(None)
    in_force = calibrations_in(settings.home, quality)
    try:
        decision = decide(
            request,
            Caller(team=team),
            terms,
            loaded,
            quality,
            decision_id="dec_explained",
            calibrations=in_force,
        )
    except UnknownQualityTierError as error:
        raise typer.BadParameter(error.message, param_hint="--tier") from None
    except (AdmissionError, ContextLengthExceededError) as error:
        print(error.message, file=sys.stderr)  # noqa: T201  # this command's output
        return 1
    focus = focus_of(decision)
    moved = moved_by(request, loaded, quality, focus)
    twice = twice_in(request, decision)
    if as_json:
        contributions = {"model": focus.model, "features": [asdict(each) for each in moved]}
        print(json.dumps({**receipt_of(decision), "twice_tokens": twice, "contributions": contributions}, indent=2))  # noqa: T201
    else:
        print(text_of(decision, focus, moved, twice))  # noqa: T201  # this command's output
    return 0


def twice_in(request: Request, decision: Decision) -> int:
    """About how many of the input's tokens stand there already, as premium counts them."""
    found = Repeats().look(request, None)
    return sum(decision.context.values()) * found.twice // max(found.chars, 1)


def tags_of(texts: Sequence[str]) -> dict[str, str]:
    """Tags of ``name=value``. Raises BadParameter."""
    pairs = [text.partition("=") for text in texts]
    if any(not name or not sign for name, sign, _ in pairs):
        raise typer.BadParameter("must be NAME=VALUE", param_hint="--tag")
    return {name: value for name, _, value in pairs}


def calibrations_in(home: Path, quality: QualityModel) -> Calibrations:
    """What labels have put in force; what is refused is said on standard error."""
    loaded = calibrations.load(home, quality.revision)
    refused = list(loaded.refused)
    moved: Mapping[Match, Adjustment] = {}
    try:
        newest = learned.read_newest(home)
        moved = newest.adjustments if newest.quality_revision == quality.revision else {}
    except ConfigError as error:
        refused.append(error.message)
    for why in refused:
        print(f"refused: {why}", file=sys.stderr)  # noqa: T201  # this command's output
    return replace(with_drifts(loaded.calibrations, read_drifts(home)), adjustments=moved)


def threshold_line(decision: Decision) -> str:
    """What one request may lose, as predicted, and whether that decided."""
    aside = SET_ASIDE.get(decision.reason)
    return f"{_threshold(decision.threshold)}{f'; it did not decide: {aside}' if aside else ''}"


def _threshold(limit: float) -> str:
    if limit == float("-inf"):
        return "none: premium alone keeps it"
    shown = _number(limit, 4)
    if limit > 0:
        return f"{shown}: what one request's predicted loss may be, calibrated for that tolerance"
    if limit == 0:
        return f"{shown}: premium, or a model that is predicted to lose nothing"
    return f"{shown}: premium, or a model that is predicted to be better by {_number(-limit, 4)}"


def promise_line(decision: Decision) -> str:
    """What the tolerance rests on."""
    needed = decision.labels_needed
    parts: list[str] = [decision.promise]
    parts += [f"by {decision.calibration}"] if decision.calibration else []
    parts += [f"moved by {decision.feedback}"] if decision.feedback and decision.alarm is None else []
    parts += (
        [f"withdrawn{f' by {decision.feedback}' if decision.feedback else ''}: {decision.alarm}"]
        if decision.alarm
        else []
    )
    parts += [f"{needed} graded prompts of this workload would calibrate it"] if needed else []
    return ", ".join(parts)


def request_of(text: str) -> Request:
    """The prompt as a client would send it."""
    message = Message("user", (Text(text),))
    return Request("openai_chat", "auto", (message,), {}, len(text.encode("utf-8", "replace")))


def focus_of(decision: Decision) -> Candidate:
    """The model on whose loss the choice turned: the best of the cheaper ones that lost, else the chosen one.

    Where premium was chosen and nothing cheaper may serve, the cheapest other model, so that there is a loss to tell.
    """
    chosen = decision.candidate(decision.model)
    others = [each for each in decision.candidates if each.model not in (decision.model, decision.premium)]
    cheaper = [
        (each.predicted_loss, each.model)
        for each in others
        if each.is_eligible
        and each.predicted_loss is not None
        and each.expected_cost_nanousd <= chosen.expected_cost_nanousd
    ]
    if cheaper:
        return decision.candidate(min(cheaper)[1])
    if decision.model != decision.premium or not others:
        return chosen
    return min(others, key=lambda each: (each.expected_cost_nanousd, each.model))


def moved_by(request: Request, policy: Policy, quality: QualityModel, focus: Candidate) -> tuple[Contribution, ...]:
    """What moved complexity and the loss of the model in focus."""
    names = list(policy.models)
    keys = [model.provider_model for model in policy.models.values()]
    view = prompt_view_of(request, sizes_of(request))
    return contributions_of(view, quality, keys, names.index(policy.premium), names.index(focus.model))


def text_of(decision: Decision, focus: Candidate, moved: Sequence[Contribution], twice: int = 0) -> str:
    """The decision for people: what answers, what was weighed, what moved it."""
    asked = f"tier {decision.quality_tier}, tolerance" if decision.quality_tier else "tolerance"
    rules = f"  rules       {', '.join(decision.rules)}\n" if decision.rules else ""
    return (
        f"{decision.model} answers: {REASONS[decision.reason]} ({decision.reason})\n"
        f"  asked for   {asked} {decision.tolerance:g}: what the mean loss may be over the requests sent with it\n"
        f"  threshold   {threshold_line(decision)}\n"
        f"  promise     {promise_line(decision)}\n"
        f"  complexity  {decision.complexity:.3f} of 1, support {decision.support:.2f}, nearest kind {decision.kind}\n"
        f"{_context(decision, twice)}{rules}{_plan(decision)}\n"
        f"{_candidates(decision)}\n\n"
        f"what moved complexity and {focus.model}'s predicted loss, most first (- makes it easier):\n"
        f"{_contributions(moved)}"
    )


def _context(decision: Decision, twice: int) -> str:
    parts = sorted(((tokens, part) for part, tokens in decision.context.items() if tokens), reverse=True)
    said = f"  input       {', '.join(f'{part} {tokens:,}' for tokens, part in parts)} tokens, as premium counts them\n"
    said += f"              of which {twice:,} stand there twice\n" if twice else ""
    trim = decision.trim
    if trim is None:
        return said + (f"              over a bound: {decision.context_warning}\n" if decision.context_over else "")
    reasons = ", ".join(f"{why} {count}" for why, count in sorted(trim.counts().items()))
    return (
        f"{said}  trimmed     {decision.context_warning} ({reasons}), as {trim.of} says; "
        f"saves {usd_of(trim.saved_nanousd)} USD at {decision.model}\n"
    )


def _plan(decision: Decision) -> str:
    plan = decision.cascade
    if plan is None:
        return ""
    said = f"  cascade     {PLANS[plan.why]} ({plan.why})\n"
    said += f"  verifier    {verifier_line(plan.verifier)}\n" if plan.verifier is not None else ""
    if not plan.models or plan.expected_cost_nanousd is None or plan.direct_cost_nanousd is None:
        return said
    rates = ", ".join(f"{share:.3f}" for share in plan.check_fails[:-1])
    return (
        f"{said}              {' -> '.join(plan.models)}; checks: {', '.join(plan.verify)}; share that fails, as the "
        f"policy's catch rates have it: {rates}\n"
        f"              expected {usd_of(plan.expected_cost_nanousd)} USD with checks, "
        f"{usd_of(plan.direct_cost_nanousd)} without; predicted loss {_number(plan.expected_loss, 4)}\n"
    )


def _candidates(decision: Decision) -> str:
    columns = ("model", "quality", "+-", "predicted_loss", "input_tokens", "output_tokens", "expected_usd", "rests_on")
    rows = [
        [
            each.model,
            _number(each.quality, 3),
            _number(each.quality_width, 3),
            _number(each.predicted_loss, 4),
            str(each.input_tokens),
            str(each.output_tokens),
            usd_of(each.expected_cost_nanousd),
            each.placement,
            _why(each, decision),
        ]
        for each in sorted(decision.candidates, key=lambda each: (each.expected_cost_nanousd, each.model))
    ]
    return table_text((*columns, "why_not"), rows, left=("model", "rests_on", "why_not"))


def _why(candidate: Candidate, decision: Decision) -> str:
    if candidate.model == decision.model:
        return "chosen"
    said: list[str] = []
    for code in candidate.why_not:
        name, _, detail = code.partition(":")
        if code == "loss_above_threshold":
            said.append(_too_much(decision.threshold))
        elif detail and name in PREFIXES:
            said.append(f"{PREFIXES[name]} {detail}")
        else:
            said.append(WHY_NOT.get(code, code))
    return ", ".join(said)


def _too_much(threshold: float) -> str:
    if threshold == float("-inf"):
        return "only premium keeps the tolerance"
    return f"loses more than {_number(threshold, 4)}" if threshold >= 0 else "not that much better than premium"


def _number(value: float | None, decimals: int) -> str:
    # Rounded first and added to zero: a threshold of -0.0 is 0, and so is what rounds to it.
    return "-" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _contributions(moved: Sequence[Contribution]) -> str:
    if not moved:
        return "  nothing: there is nothing to read"
    rows = [
        [each.feature, f"{each.value:.4g}", f"{each.complexity:+.4f}", f"{each.predicted_loss:+.4f}"]
        for each in moved[:SHOWN]
    ]
    return table_text(("feature", "value", "complexity", "predicted_loss"), rows, left=("feature",))
