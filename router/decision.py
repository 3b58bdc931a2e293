"""The decision: which model answers, and why each other did not.

``choose`` picks by the candidates' numbers alone, so a receipt that holds the numbers reproduces the choice offline.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from router.cascade import Plan, Step, barred, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from router.calibration import Promise
    from router.cascade import Bar
    from router.context import ContextOver
    from router.policy import Cascade
    from router.trim import Trim
    from router.verifier import Verifier

Reason: TypeAlias = Literal[
    "cheapest_within_tolerance",  # a cheaper model's predicted loss is within the threshold
    "premium_is_cheapest",  # premium itself costs least of all that qualify
    "zero_tolerance",  # the caller accepts no loss
    "no_ground",  # the prompt is unlike anything calibrated: abstained upward
    "promise_not_calibrated",  # the policy demands a calibrated promise, and this workload has none: premium
    "none_within_tolerance",  # every cheaper candidate is predicted to lose too much
    "premium_not_eligible",  # premium may not serve it: the best of what may
    "pinned",  # the caller named the model
    "cascade",  # a cheaper model is asked first, its answer checked, a better one asked when a check fails
    "guard_downgrade",  # a guard tripped that asks for a cheaper model: the cheapest that may serve
    "budget_downgrade",  # the budgets have no room for what was chosen: the best that they have room for
]

# What in ``why_not`` says that a model cannot do what is asked, whoever asks and however it is put: the other codes
# forbid it, or name settings that one would leave out to ask it.
UNABLE = ("lacks:", "context_window")


@dataclass(frozen=True, slots=True)
class CostRange:
    """An amount with its uncertainty, in nano-USD; ``low <= point <= high``."""

    low_nanousd: int
    point_nanousd: int
    high_nanousd: int


class Candidate(NamedTuple):
    """One model of the policy, weighed for one request; a tuple, since every request makes one a model.

    ``why_not`` holds stable codes, each ``name`` or ``name:detail``; empty for the chosen model. ``is_eligible`` means
    that it *may* serve; an eligible candidate can still lose on ``loss_above_threshold`` or ``dearer``.
    ``predicted_loss`` is against premium on the score's scale 0..1; None where the quality model knows nothing of it.
    ``cached_tokens`` of the ``input_tokens`` are expected to be read from the vendor's prompt cache.
    """

    model: str
    is_eligible: bool
    why_not: tuple[str, ...]
    quality: float | None
    quality_width: float | None
    predicted_loss: float | None
    input_tokens: int
    output_tokens: int
    expected_cost_nanousd: int
    placement: str
    output_tokens_max: int
    dropped: tuple[str, ...] = ()
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one request, complete enough to be decided again from it.

    ``order`` is the models to ask, the chosen one first, then the fallbacks that keep the tolerance too. ``features``
    are numbers only. ``cascade`` is None where the policy has none. ``promise`` says what the tolerance rests on:
    ``calibration``, name@version of the workload's own, the shipped one, or nothing; ``labels_needed`` graded prompts
    are missing to calibrate it, and ``is_promise_met`` is False where the policy demands that. ``denied`` names the
    models that the budgets had no room for, where that changed the choice. ``shifts``: the log-odds
    by which labels moved each model's quality; ``feedback`` names the version that had a part in them, and ``alarm``
    says why feedback took the promise away. ``context`` has the input tokens by part, ``context_over`` the bound on
    them that was passed where that only warns, ``trim`` what was taken out for a bound's sake.
    """

    decision_id: str
    model: str
    order: tuple[str, ...]
    reason: Reason
    is_pinned: bool
    quality_tier: str | None
    tolerance: float
    threshold: float
    premium: str
    complexity: float
    support: float
    kind: str
    has_ground: bool
    expected_loss: float | None
    expected_cost_nanousd: int
    candidates: tuple[Candidate, ...]
    rules: tuple[str, ...]
    features: Mapping[str, float]
    policy_revision: str
    price_revision: str
    quality_revision: str
    cascade: Plan | None = None
    promise: Promise = "shipped"
    labels_needed: int = 0
    calibration: str | None = None
    is_promise_met: bool = True
    denied: tuple[str, ...] = ()
    shifts: Mapping[str, float] = field(default_factory=dict)
    feedback: str | None = None
    alarm: str | None = None
    context: Mapping[str, int] = field(default_factory=dict)
    context_over: ContextOver | None = None
    trim: Trim | None = None

    @property
    def context_warning(self) -> str | None:
        """What the caller is told of a bound that was passed."""
        over, trim = self.context_over, self.trim
        if trim is not None:
            cut = f"{len(trim.cuts)} of {trim.chunks} chunks cut"
            return (
                f"{trim.input_tokens_before} input tokens of {trim.input_tokens_max}: {cut}, {trim.input_tokens} left"
            )
        return None if over is None else f"{over.input_tokens} input tokens of {over.input_tokens_max}"

    def candidate(self, model: str) -> Candidate:
        """The candidate with this id; asserts that it was weighed."""
        found = next((each for each in self.candidates if each.model == model), None)
        assert found is not None, model
        return found

    @property
    def is_premium_able(self) -> bool:
        """Whether premium could do what is asked, were it allowed: its window and abilities."""
        return not any(why.startswith(UNABLE) for why in self.candidate(self.premium).why_not)

    @property
    def is_cascaded(self) -> bool:
        """Whether answers are checked, and a better model asked where a check fails."""
        return self.cascade is not None and bool(self.cascade.models)

    def loss_of(self, model: str) -> float | None:
        """What an answer of this model is predicted to lose; with its checks, where only those let it serve."""
        if self.reason == "cascade" and model == self.model:
            return self.expected_loss
        return self.candidate(model).predicted_loss

    def better_than(self, model: str) -> tuple[str, ...]:
        """The models to ask where a check fails on this one's answer: the plan's next, then others that lose less."""
        plan = self.cascade
        if plan is None or not plan.models:
            return ()
        planned = plan.models[plan.models.index(model) + 1 :] if model in plan.models else ()
        known = _loss_against(self.premium, self.candidate(model))
        others = (
            name
            for name in self.order
            if name not in (model, *planned) and _loss_against(self.premium, self.candidate(name)) < known
        )
        return (*planned, *others)


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome of ``choose``: the models to ask in order, and why."""

    order: tuple[str, ...]
    reason: Reason
    plan: Plan | None = None

    def verified_by(self, verifier: Verifier) -> Choice:
        """The same with what labels taught, where there is a plan to check an answer or why there is none."""
        return self if self.plan is None else replace(self, plan=self.plan._replace(verifier=verifier))

    def expected_of(self, first: Candidate) -> tuple[int, float | None]:
        """What the request is expected to cost, in nano-USD, and to lose: the plan's where checks let it serve."""
        plan = self.plan
        if self.reason != "cascade" or plan is None or plan.expected_cost_nanousd is None:
            return first.expected_cost_nanousd, first.predicted_loss
        return plan.expected_cost_nanousd, plan.expected_loss


def is_within(candidate: Candidate, premium: str, threshold: float) -> bool:
    """Whether the candidate keeps the tolerance: premium always does, one without a prediction never."""
    if candidate.model == premium:
        return True
    return candidate.predicted_loss is not None and candidate.predicted_loss <= threshold


def choose(
    candidates: Sequence[Candidate],
    *,
    premium: str,
    tolerance: float,
    threshold: float,
    pinned: str | None,
    has_ground: bool,
    cascade: Cascade | None = None,
    bar: Bar | None = None,
    is_promise_met: bool = True,
    denied: Collection[str] = (),
    is_curbed: bool = False,
) -> Choice | None:
    """The cheapest eligible candidate whose predicted loss is within the threshold; ties by cost, then name.

    With models ``denied`` by the budgets, the least predicted loss of the others; ``is_curbed`` by a guard, the
    cheapest of all.

    Returns None when nothing may serve. Without ground, or at tolerance 0, only premium keeps the promise; where
    premium itself may not serve, the least predicted loss does. With a cascade, and no bar to it, a cheaper candidate
    comes first where checks on its answer keep the threshold for less.
    """
    eligible = [each for each in candidates if each.is_eligible]
    if denied:
        return _affordable(eligible, premium, denied)
    if is_curbed:
        return _cheapest(eligible)
    choice = _chosen(
        eligible,
        premium=premium,
        tolerance=tolerance,
        threshold=threshold,
        pinned=pinned,
        has_ground=has_ground,
        is_promise_met=is_promise_met,
    )
    if choice is None or cascade is None:
        return choice
    if bar is not None:
        return replace(choice, plan=barred(cascade, bar))
    return _cascaded(
        choice, eligible, cascade, premium, _limit(tolerance, threshold, has_ground=has_ground and is_promise_met)
    )


def _limit(tolerance: float, threshold: float, *, has_ground: bool) -> float:
    return threshold if tolerance > 0 and has_ground else float("-inf")


def _chosen(
    eligible: Sequence[Candidate],
    *,
    premium: str,
    tolerance: float,
    threshold: float,
    pinned: str | None,
    has_ground: bool,
    is_promise_met: bool,
) -> Choice | None:
    if pinned is not None:
        return Choice((pinned,), "pinned") if any(each.model == pinned for each in eligible) else None
    if not eligible:
        return None
    limit = _limit(tolerance, threshold, has_ground=has_ground and is_promise_met)
    within = sorted(
        (each for each in eligible if is_within(each, premium, limit)),
        key=lambda each: (each.expected_cost_nanousd, each.model),
    )
    if not within:
        best = min(eligible, key=lambda each: (_loss_or_worst(each), each.expected_cost_nanousd, each.model))
        return Choice((best.model,), "premium_not_eligible")
    order = tuple(each.model for each in within)
    if order[0] != premium:
        return Choice(order, "cheapest_within_tolerance")
    if tolerance <= 0:
        return Choice(order, "zero_tolerance")
    if not has_ground:
        return Choice(order, "no_ground")
    if not is_promise_met:
        return Choice(order, "promise_not_calibrated")
    return Choice(order, "premium_is_cheapest" if len(order) > 1 else "none_within_tolerance")


def _affordable(eligible: Sequence[Candidate], premium: str, denied: Collection[str]) -> Choice | None:
    left = [each for each in eligible if each.model not in denied]
    left.sort(key=lambda each: (_loss_against(premium, each), each.expected_cost_nanousd, each.model))
    return Choice(tuple(each.model for each in left), "budget_downgrade") if left else None


def _cheapest(eligible: Sequence[Candidate]) -> Choice | None:
    left = sorted(eligible, key=lambda each: (each.expected_cost_nanousd, each.model))
    return Choice(tuple(each.model for each in left), "guard_downgrade") if left else None


def curbed(decision: Decision) -> Decision:
    """The decision for the cheapest model that may serve, since a guard wants the request cheaper; else as it was.

    Nothing is promised of it, and its answer is not checked.
    """
    choice = _cheapest([each for each in decision.candidates if each.is_eligible])
    if choice is None or decision.is_pinned or choice.order[0] == decision.model:
        return decision
    return _redecided(decision, choice, lambda _: "dearer")


def downgraded(decision: Decision, denied: Collection[str]) -> Decision | None:
    """The decision for the best of the models that the budgets have not denied; None where none is left.

    Nothing is promised of it, and its answer is not checked: a better one could not be paid for.
    """
    choice = _affordable([each for each in decision.candidates if each.is_eligible], decision.premium, denied)
    if choice is None:
        return None
    return replace(
        _redecided(decision, choice, lambda model: "budget" if model in denied else "loses_more"),
        denied=tuple(sorted(denied)),
    )


def _redecided(decision: Decision, choice: Choice, why_not: Callable[[str], str]) -> Decision:
    """The decision with another choice, ``why_not`` saying why each other model that may serve was left."""
    first = choice.order[0]
    found: list[Candidate] = []
    for each in decision.candidates:
        if each.model == first:
            found.append(each._replace(why_not=()))
        elif each.is_eligible:
            found.append(each._replace(why_not=(why_not(each.model),)))
        else:
            found.append(each)
    chosen = next(each for each in found if each.model == first)
    return replace(
        decision,
        model=first,
        order=choice.order,
        reason=choice.reason,
        expected_loss=chosen.predicted_loss,
        expected_cost_nanousd=chosen.expected_cost_nanousd,
        candidates=tuple(found),
        promise="none",
        cascade=None,
    )


def _cascaded(choice: Choice, eligible: Sequence[Candidate], cascade: Cascade, premium: str, limit: float) -> Choice:
    """The choice with its plan; a model outside the limit comes first where the plan says so."""
    by_name = {each.model: _step_of(each, premium) for each in eligible}
    outside = [
        by_name[each.model] for each in eligible if each.model not in choice.order and each.predicted_loss is not None
    ]
    plan = plan_of(cascade, [by_name[name] for name in choice.order], outside, limit)
    if plan.why != "checks_keep_the_tolerance":
        return replace(choice, plan=plan)
    return Choice((plan.models[0], *choice.order), "cascade", plan)


def _step_of(candidate: Candidate, premium: str) -> Step:
    quality = (candidate.quality or 0.0) - (candidate.quality_width or 0.0)
    return Step(candidate.model, candidate.expected_cost_nanousd, _loss_against(premium, candidate), quality)


def _loss_against(premium: str, candidate: Candidate) -> float:
    return 0.0 if candidate.model == premium else _loss_or_worst(candidate)


def _loss_or_worst(candidate: Candidate) -> float:
    return candidate.predicted_loss if candidate.predicted_loss is not None else float("inf")


def explained(candidates: Sequence[Candidate], choice: Choice, premium: str, threshold: float) -> tuple[Candidate, ...]:
    """The candidates with the reason why each eligible one lost."""
    winner = choice.order[0]
    found: list[Candidate] = []
    for each in candidates:
        why = each.why_not
        if each.is_eligible and each.model != winner:
            if choice.reason == "pinned":
                why = ("not_pinned",)
            elif choice.reason in ("zero_tolerance", "no_ground", "promise_not_calibrated"):
                why = (choice.reason,)
            elif choice.reason != "premium_not_eligible" and is_within(each, premium, threshold):
                why = ("dearer",)
            else:
                why = ("loss_above_threshold",) if each.predicted_loss is not None else ("no_placement",)
        found.append(each if why is each.why_not else each._replace(why_not=why))
    return tuple(found)
