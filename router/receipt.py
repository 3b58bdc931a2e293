"""The receipt of a decision: plain JSON values, from which alone the choice can be made again, bit for bit."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from router.cascade import BARS, Bar
from router.decision import Candidate, Choice, Decision, choose
from router.policy import Cascade
from router.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.cascade import Plan

DECISION_FIELDS = tuple(each.name for each in fields(Decision))


def receipt_of(decision: Decision) -> dict[str, object]:
    """The decision as plain JSON values: numbers, names and revisions, never text of the prompt."""
    plain = {name: getattr(decision, name) for name in DECISION_FIELDS}
    plain["shifts"] = dict(decision.shifts)
    plain["context"] = dict(decision.context)
    plain["context_over"] = None if decision.context_over is None else asdict(decision.context_over)
    if decision.trim is not None:
        plain["trim"] = {**asdict(decision.trim), "cuts": [cut._asdict() for cut in decision.trim.cuts]}
    plain["candidates"] = [candidate._asdict() for candidate in decision.candidates]
    if decision.cascade is not None:
        plain["cascade"] = _plan_plain(decision.cascade)
    # JSON has no infinity: a threshold that admits premium alone is null.
    plain["threshold"] = decision.threshold if decision.threshold > float("-inf") else None
    return plain


def _plan_plain(plan: Plan) -> dict[str, object]:
    """The plan as plain values; a verifier only where the policy asks for one."""
    plain = {**plan._asdict(), "catch_rate": dict(plan.catch_rate)}
    verifier = plain.pop("verifier")
    if verifier is not None:
        plain["verifier"] = {**verifier._asdict(), "weights": dict(verifier.weights)}
    return plain


def verifier_of_receipt(receipt: Mapping[str, object]) -> Verifier | None:
    """What labels had taught when it was decided; with an attempt's marks it gives the check's verdict again."""
    plan = receipt.get("cascade")
    found = plan.get("verifier") if isinstance(plan, dict) else None
    if found is None:
        return None
    return Verifier(**{name: value for name, value in found.items() if name in Verifier._fields})


def choice_of_receipt(receipt: Mapping[str, object]) -> Choice | None:
    """Decide again from a receipt alone; equals what was decided, bit for bit. Raises KeyError on a foreign mapping."""
    rows = receipt["candidates"]
    assert isinstance(rows, list | tuple)
    known = frozenset(Candidate._fields) - {"why_not"}
    candidates = [
        Candidate(why_not=(), **{name: value for name, value in row.items() if name in known}) for row in rows
    ]
    threshold, tolerance = receipt["threshold"], receipt["tolerance"]
    assert threshold is None or isinstance(threshold, int | float)
    assert isinstance(tolerance, int | float)
    cascade, bar = _cascade_of(receipt.get("cascade"))
    choice = choose(
        candidates,
        premium=str(receipt["premium"]),
        tolerance=tolerance,
        threshold=float("-inf") if threshold is None else threshold,
        pinned=str(receipt["model"]) if receipt["is_pinned"] else None,
        has_ground=bool(receipt["has_ground"]),
        cascade=cascade,
        bar=bar,
        is_promise_met=bool(receipt.get("is_promise_met", True)),
        denied=_names_in(receipt.get("denied")),
        is_curbed=receipt["reason"] == "guard_downgrade",
    )
    verifier = verifier_of_receipt(receipt)
    return choice if choice is None or verifier is None else choice.verified_by(verifier)


def _names_in(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list | tuple) else ()


def _cascade_of(plan: object) -> tuple[Cascade | None, Bar | None]:
    """The cascade that a receipt's plan was made by, and the bar that kept the request out."""
    if not isinstance(plan, dict):
        return None, None
    cascade = Cascade(tuple(plan["verify"]), plan["max_attempts"], catch_rate=plan["catch_rate"])
    return cascade, next((bar for bar in BARS if bar == plan["why"]), None)
