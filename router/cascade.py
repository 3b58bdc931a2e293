"""Whether it pays to ask a cheaper model first, check its answer, and ask a better one only when a check fails.

With ``r`` the stated share of a model's bad answers that the checks catch, ``q`` its quality at the low end of its
uncertainty and ``l`` its predicted loss, a chain of models is expected to cost ``cost + r (1 - q) * cost of the rest``,
its own cost counted twice where it is asked twice (`agreement`),
and to lose ``(1 - r) l + r * loss of the rest``. The loss is the worst case for a better model that is right wherever
the weaker one is, as long as it is no likelier to fail on the bad answers that are caught than on those that are not.
Where no ``r`` is stated it is 0: then checks are a safety net, and let no model serve that may not serve without them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.chat import Request
    from router.policy import Cascade, Check
    from router.verifier import Verifier

Bar: TypeAlias = Literal[
    "pinned",  # the caller named the model
    "streamed",  # a stream goes out as it comes, unless the policy says `streams: buffer`
    "tier",  # the request's quality tier is not among the cascade's
    "no_check_applies",  # none of the checks can say anything of such a request
]
PlanWhy: TypeAlias = Literal[
    Bar,
    "checks_keep_the_tolerance",  # a model that may not serve alone is asked first: with its checks it keeps the loss
    "safety_net",  # the choice is as without a cascade; a better model is asked should a check fail
    "nothing_better",  # no other model that keeps the tolerance is predicted to lose less
    "dearer_with_checks",  # the better model at once is expected to cost no more
]
BARS: tuple[Bar, ...] = ("pinned", "streamed", "tier", "no_check_applies")


class Step(NamedTuple):
    """One model as a plan sees it: expected cost, predicted loss, and quality at the low end of its uncertainty."""

    model: str
    cost_nanousd: int
    loss: float
    quality_low: float


class Plan(NamedTuple):
    """What a cascade does with one request, and from what that follows.

    ``models`` are asked in order, each when the answer before it failed a check; empty where no answer is checked.
    ``check_fails`` is the predicted share of failed checks for each. ``expected_cost_nanousd`` and ``expected_loss``
    are those of the whole plan, ``direct_cost_nanousd`` that of asking the cheapest that keeps the tolerance alone.
    ``verifier`` is what labels taught of such answers, None where the policy does not ask for it.
    """

    why: PlanWhy
    verify: tuple[Check, ...]
    max_attempts: int
    catch_rate: Mapping[str, float]
    models: tuple[str, ...] = ()
    check_fails: tuple[float, ...] = ()
    expected_cost_nanousd: int | None = None
    expected_loss: float | None = None
    direct_cost_nanousd: int | None = None
    verifier: Verifier | None = None


def checks_for(verify: Sequence[Check], request: Request, verifier: Verifier | None = None) -> tuple[Check, ...]:
    """The checks that can say something of an answer to this request, with what labels have taught."""
    wants_json = request.response_format is not None and request.response_format.kind != "text"
    silent = {
        "schema": not wants_json,
        "tool_call": not request.tools,
        "agreement": _says_the_same_again(request),
        "verifier": verifier is None or not verifier.is_in_force,
    }
    return tuple(name for name in verify if not silent.get(name, False))


def _says_the_same_again(request: Request) -> bool:
    """Whether a second answer would be the first once more, as the request samples."""
    return request.sampling.temperature == 0 or request.sampling.seed is not None


def bar_of(
    cascade: Cascade,
    request: Request,
    quality_tier: str | None,
    *,
    is_pinned: bool,
    verifier: Verifier | None = None,
) -> Bar | None:
    """What keeps the request out of the cascade; None where it may be cascaded."""
    if is_pinned:
        return "pinned"
    if request.is_streamed and not cascade.buffers_streams:
        return "streamed"
    if cascade.tiers and quality_tier not in cascade.tiers:
        return "tier"
    return None if checks_for(cascade.verify, request, verifier) else "no_check_applies"


def barred(cascade: Cascade, bar: Bar) -> Plan:
    """The plan of a request that is not cascaded."""
    return Plan(bar, cascade.verify, cascade.max_attempts, cascade.catch_rate)


def plan_of(cascade: Cascade, within: Sequence[Step], outside: Sequence[Step], threshold: float) -> Plan:
    """The cheapest plan that keeps the threshold.

    ``within`` are the models that keep it alone, the cheapest first and at least one; ``outside`` those that do not.
    """
    direct = within[0]
    net = _costed(cascade, _chain_of(direct, within, cascade.max_attempts), "safety_net", direct)
    plans = [
        _costed(cascade, _chain_of(first, within[start:], cascade.max_attempts), "checks_keep_the_tolerance", direct)
        for first in outside
        if cascade.catch_rate.get(first.model, 0.0) > 0
        for start in range(len(within))
    ]
    kept = [
        plan
        for plan in plans
        if len(plan.models) > 1 and _loss_of(plan) <= threshold and _cost_of(plan) < direct.cost_nanousd
    ]
    if kept:
        return min(kept, key=lambda plan: (_cost_of(plan), plan.models))
    if len(net.models) == 1:
        return net._replace(why="nothing_better", models=(), check_fails=())
    following = next(step for step in within if step.model == net.models[1])
    if _cost_of(net) >= following.cost_nanousd:
        return net._replace(why="dearer_with_checks", models=(), check_fails=())
    return net


def _chain_of(first: Step, others: Sequence[Step], length_max: int) -> list[Step]:
    """The first, then each of the others, by cost, that is predicted to lose less than the one before it."""
    chain = [first]
    for step in others:
        if len(chain) < length_max and step.loss < chain[-1].loss:
            chain.append(step)
    return chain


def _costed(cascade: Cascade, chain: Sequence[Step], why: PlanWhy, direct: Step) -> Plan:
    cost, loss = 0.0, chain[-1].loss
    samples = 2 if "agreement" in cascade.verify else 1
    fails: list[float] = []
    for step in reversed(chain):
        catch_rate = cascade.catch_rate.get(step.model, 0.0)
        is_last = step is chain[-1]
        fails.insert(0, catch_rate * min(1.0, max(0.0, 1.0 - step.quality_low)))
        asked = 1 if is_last else samples
        cost = asked * step.cost_nanousd + (0.0 if is_last else fails[0] * cost)
        loss = step.loss if is_last else (1 - catch_rate) * step.loss + catch_rate * loss
    return Plan(
        why=why,
        verify=cascade.verify,
        max_attempts=cascade.max_attempts,
        catch_rate=cascade.catch_rate,
        models=tuple(step.model for step in chain),
        check_fails=tuple(fails),
        expected_cost_nanousd=math.ceil(cost),
        expected_loss=loss if math.isfinite(loss) else None,
        direct_cost_nanousd=direct.cost_nanousd,
    )


def _cost_of(plan: Plan) -> int:
    assert plan.expected_cost_nanousd is not None
    return plan.expected_cost_nanousd


def _loss_of(plan: Plan) -> float:
    return math.inf if plan.expected_loss is None else plan.expected_loss
