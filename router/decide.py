"""From a request to its decision: a pure function of request, caller, policy and quality model."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from router.ask import ask_of
from router.calibration import NO_CALIBRATIONS
from router.cascade import bar_of
from router.catalog import expected_cost_nanousd
from router.context import context_of, require_within, retrieved_of, trims_to
from router.decision import Candidate, Choice, Decision, choose, explained
from router.eligibility import Circumstances, check_model, matching_rules
from router.errors import ContextLengthExceededError, NoEligibleModelError
from router.features import features_of
from router.promise import footing_of
from router.prompt import prompt_view_of, sizes_of
from router.token_priors import input_tokens_of, output_tokens_of
from router.trim import cut_out, trim_of
from router.verifier import NO_VERIFIER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.ask import Ask
    from router.calibration import Adjustment, Calibration, Calibrations
    from router.chat import Request
    from router.features import Features
    from router.policy import Caller, Cascade, ContextBound, Policy, PolicyModel, Rule, Terms
    from router.promise import Footing
    from router.prompt import Sizes
    from router.quality import QualityModel, Scores
    from router.trim import Trim
    from router.verifier import Verifier

# A thinking model spends output tokens before its first visible word: the default limit is stretched for it.
THINKING_OUTPUT_FACTOR = 4
NOTHING_WARM: Mapping[str, int] = MappingProxyType({})
# What a caller can make of a reason, by its code up to the colon.
REFUSAL_HINTS = {
    "wire": "`wire:` names what the model's API has no word for: leave it out, or ask another model",
    "lacks": "`lacks:` names what the model cannot do",
    "refuses": "`refuses:` names what it answers with an error, unless the policy's `routing.drop` leaves it out",
    "rule": "`rule:` names the policy's rule that keeps the model out",
    "no_api_key": "`no_api_key`: the gateway has no key of the model's provider",
}
# A model that answers for one of these was not chosen by its loss: nothing is promised of it.
UNPROMISED = ("pinned", "premium_not_eligible")


def output_tokens_max_of(request: Request, model: PolicyModel, policy: Policy) -> int:
    """The limit that is written upstream for this model: asked for, else the policy's default, within the model's."""
    wanted = request.output_tokens_max
    if wanted is None:
        factor = THINKING_OUTPUT_FACTOR if model.card.thinking_always_on else 1
        wanted = policy.limits.output_tokens_default * factor
    limit = model.card.max_output_tokens
    return wanted if limit is None else min(wanted, limit)


class Weights(NamedTuple):
    """One model's expected tokens and cost for a request."""

    input_tokens: int
    output_tokens: int
    output_tokens_max: int
    cached_tokens: int
    expected_cost_nanousd: int


def weights_of(
    request: Request, model: PolicyModel, policy: Policy, sizes: Sizes, base_output: float, warm_tokens: int = 0
) -> Weights:
    """What the request is expected to take and cost on this model's own tokenizer, verbosity and prompt cache."""
    input_tokens = input_tokens_of(
        model,
        text_bytes=sizes.text_bytes,
        non_ascii_share=sizes.non_ascii_share,
        code_share=sizes.code_share,
        messages=sizes.messages,
        tools_bytes=sizes.tools_bytes,
        images=sizes.images,
    )
    limit = output_tokens_max_of(request, model, policy)
    visible, reasoning = output_tokens_of(
        model, asked_max=limit, base_output_tokens=base_output, reasoning_effort=request.reasoning_effort
    )
    cached = min(warm_tokens, input_tokens)
    cost = expected_cost_nanousd(model.prices, input_tokens, cached, visible, reasoning)
    return Weights(input_tokens, visible + reasoning, limit, cached, cost)


def weigh(
    request: Request,
    caller: Caller,
    policy: Policy,
    rules: Sequence[Rule],
    scores: Scores,
    losses: Sequence[float | None],
    weights: Mapping[str, Weights],
) -> tuple[Candidate, ...]:
    """Every model of the policy with what it is expected to cost and lose, and what keeps it from serving."""
    found: list[Candidate] = []
    for index, (name, model) in enumerate(policy.models.items()):
        mine = weights[name]
        why, dropped = check_model(
            request,
            model,
            caller=caller,
            rules=rules,
            droppable=policy.droppable,
            input_tokens=mine.input_tokens,
            output_tokens=0 if request.output_tokens_max is None else mine.output_tokens_max,
        )
        is_placed = scores.placement[index].basis != "none"
        found.append(
            Candidate(
                model=name,
                is_eligible=not why,
                why_not=why,
                quality=scores.quality[index] if is_placed else None,
                quality_width=scores.width[index] if is_placed else None,
                predicted_loss=losses[index] if is_placed else None,
                input_tokens=mine.input_tokens,
                output_tokens=mine.output_tokens,
                expected_cost_nanousd=mine.expected_cost_nanousd,
                placement=scores.placement[index].basis,
                output_tokens_max=mine.output_tokens_max,
                dropped=dropped,
                cached_tokens=mine.cached_tokens,
            )
        )
    return tuple(found)


def refusal_of(
    candidates: Sequence[Candidate], pinned: str | None
) -> NoEligibleModelError | ContextLengthExceededError:
    """The error that says why nothing may serve: 400 where only the length is in the way, else 422."""
    asked = [each for each in candidates if pinned is None or each.model == pinned]
    if asked and all("context_window" in each.why_not for each in asked):
        largest = max(each.input_tokens for each in asked)
        return ContextLengthExceededError(
            f"about {largest} input tokens and the output asked for fit no context window that may serve",
            param="messages",
        )
    reasons = "; ".join(f"{each.model}: {', '.join(each.why_not)}" for each in asked)
    kinds = {why.partition(":")[0] for each in asked for why in each.why_not}
    hints = "".join(f"; {hint}" for kind, hint in REFUSAL_HINTS.items() if kind in kinds)
    return NoEligibleModelError(
        f"no model may serve this request ({reasons}){hints}",
        param="model",
        data={"candidates": [{"model": each.model, "why_not": list(each.why_not)} for each in asked]},
    )


def circumstances_of(
    request: Request, caller: Caller, terms: Terms, ask: Ask, sizes: Sizes, input_tokens: int, support: float
) -> Circumstances:
    """What the policy's rules can ask about; ``input_tokens`` as premium would count them."""
    wanted = request.response_format
    return Circumstances(
        quality_tier=ask.quality_tier,
        tags={**caller.tags, **terms.tags},
        input_tokens=input_tokens,
        has_images=sizes.images > 0,
        has_tools=bool(request.tools),
        has_response_schema=wanted is not None and wanted.kind == "json_schema",
        support=support,
    )


def decide(
    request: Request,
    caller: Caller,
    terms: Terms,
    policy: Policy,
    quality: QualityModel,
    *,
    decision_id: str,
    warm: Mapping[str, int] = NOTHING_WARM,
    calibrations: Calibrations = NO_CALIBRATIONS,
    trim: Trim | None = None,
) -> Decision:
    """Score the prompt, weigh every model, choose the cheapest that keeps the tolerance.

    ``warm`` says how many tokens of the request's beginning each model's vendor is known to have in its prompt cache.
    ``calibrations`` are the workloads' own, of which the most specific one counts. Where the policy trims the input,
    everything is decided for what `Decision.trim` leaves of it; with ``trim`` that has been done.

    Raises ModelNotFoundError, ModelNotAllowedError, UnknownQualityTierError and TierNotAllowedError for what was asked,
    ContextLengthExceededError and NoEligibleModelError where nothing may serve.
    """
    ask = ask_of(request, caller, terms, policy)
    sizes = sizes_of(request)
    features = features_of(prompt_view_of(request, sizes))
    scores = quality.score(features, tuple(model.provider_model for model in policy.models.values()))
    weights = {
        name: weights_of(request, model, policy, sizes, scores.output_tokens, warm.get(name, 0))
        for name, model in policy.models.items()
    }
    seen = circumstances_of(request, caller, terms, ask, sizes, weights[policy.premium].input_tokens, scores.support)
    rules = matching_rules(policy, caller, seen)
    context = context_of(policy.premium_model, sizes, seen.input_tokens, retrieved_of(request, sizes))
    bounds = bounds_of(policy, rules)
    bound = trims_to(bounds, seen.input_tokens) if bounds and trim is None else None
    if bound is not None:
        found = trim_of(request, policy.premium_model, sizes, seen.input_tokens, bound)
        left = cut_out(request, found.cuts)
        made = decide(
            left, caller, terms, policy, quality,
            decision_id=decision_id, warm=warm, calibrations=calibrations, trim=found,
        )  # fmt: skip
        return replace(made, trim=replace(found, saved_nanousd=_saved_by(made, weights[made.model], policy)))
    over = require_within(bounds, context, trim)
    tolerance = tolerance_of(ask, rules)
    own = calibration_of(calibrations, caller, seen, rules) if calibrations else None
    learned = calibrations.adjustment_of(own, caller.key_id) if calibrations else None
    footing = footing_of(quality, scores, policy, tolerance, own, learned, calibrations.drift_of(own))
    weighed = weigh(request, caller, policy, rules, footing.scores, footing.losses, weights)
    choice = require_choice(weighed, policy, ask, request, tolerance, footing, learned)
    made = decision_of(decision_id, weighed, choice, footing, ask, tolerance, rules, features, context, policy, quality)
    return made if over is None else replace(made, context_over=over)


def _saved_by(made: Decision, before: Weights, policy: Policy) -> int:
    """What the tokens that were taken out would have cost at the chosen model, its context tiers and cache known."""
    after, prices = made.candidate(made.model), policy.models[made.model].prices
    cost_before = expected_cost_nanousd(prices, before.input_tokens, before.cached_tokens, 0, 0)
    return cost_before - expected_cost_nanousd(prices, after.input_tokens, after.cached_tokens, 0, 0)


def bounds_of(policy: Policy, rules: Sequence[Rule]) -> list[ContextBound]:
    """The bounds on the input that hold for the request."""
    own = [] if policy.context is None else [policy.context]
    return [*own, *(rule.context for rule in rules if rule.context is not None)]


def decision_of(
    decision_id: str,
    weighed: Sequence[Candidate],
    choice: Choice,
    footing: Footing,
    ask: Ask,
    tolerance: float,
    rules: Sequence[Rule],
    features: Features,
    context: Mapping[str, int],
    policy: Policy,
    quality: QualityModel,
) -> Decision:
    """The receipt of a choice."""
    scores = footing.scores
    candidates = explained(weighed, choice, policy.premium, footing.threshold)
    chosen = next(each for each in candidates if each.model == choice.order[0])
    cost, loss = choice.expected_of(chosen)
    return Decision(
        decision_id=decision_id,
        model=chosen.model,
        order=choice.order,
        reason=choice.reason,
        is_pinned=ask.pinned is not None,
        quality_tier=ask.quality_tier,
        tolerance=tolerance,
        threshold=footing.threshold,
        premium=policy.premium,
        expected_loss=loss,
        expected_cost_nanousd=cost,
        candidates=candidates,
        rules=tuple(rule.name for rule in rules),
        features=features.as_dict(),
        complexity=scores.complexity,
        support=scores.support,
        kind=scores.kind,
        has_ground=footing.has_ground,
        policy_revision=policy.revision,
        price_revision=policy.price_revision,
        quality_revision=quality.revision,
        promise="none" if choice.reason in UNPROMISED and chosen.model != policy.premium else footing.promise,
        labels_needed=footing.labels_needed,
        calibration=footing.calibration,
        is_promise_met=footing.is_met,
        shifts=footing.shifts,
        feedback=footing.feedback,
        alarm=footing.alarm,
        cascade=choice.plan,
        context=context,
    )


def require_choice(
    weighed: Sequence[Candidate],
    policy: Policy,
    ask: Ask,
    request: Request,
    tolerance: float,
    footing: Footing,
    learned: Adjustment | None = None,
) -> Choice:
    """The choice among the candidates. Raises NoEligibleModelError or ContextLengthExceededError without one."""
    cascade, is_pinned = policy.cascade, ask.pinned is not None
    verifier = None if cascade is None or not cascade.has_verifier else verifier_of(cascade, learned)
    choice = choose(
        weighed,
        premium=policy.premium,
        tolerance=tolerance,
        threshold=footing.threshold,
        pinned=ask.pinned,
        has_ground=footing.has_ground,
        is_promise_met=footing.is_met,
        cascade=cascade,
        bar=None
        if cascade is None
        else bar_of(cascade, request, ask.quality_tier, is_pinned=is_pinned, verifier=verifier),
    )
    if choice is None:
        raise refusal_of(weighed, ask.pinned)
    return choice if verifier is None else choice.verified_by(verifier)


def verifier_of(cascade: Cascade, learned: Adjustment | None) -> Verifier:
    """What labels taught of the workload's answers, its version, and what the policy wants of an answer."""
    found = None if learned is None else learned.verifier
    if learned is None or found is None:
        return NO_VERIFIER._replace(chance_min=cascade.verifier_min)
    return found._replace(version=learned.id, chance_min=cascade.verifier_min)


def calibration_of(
    calibrations: Calibrations, caller: Caller, seen: Circumstances, rules: Sequence[Rule]
) -> Calibration | None:
    """The calibration of the request's workload, if it has one."""
    return calibrations.find(caller.key_id, caller.team, seen.tags, [rule.name for rule in rules])


def tolerance_of(ask: Ask, rules: Sequence[Rule]) -> float:
    """The tolerance asked for, or the least that a matching rule allows."""
    caps = [rule.require.tolerance_max for rule in rules if rule.require.tolerance_max is not None]
    return min([ask.tolerance, *caps])
