"""What the command line says of the verifier that labels teach: in force or not, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.calibration import Adjustment, Match
    from router.verifier import Verifier, WhyNot

COLUMNS = ("verifier_of", "version", "state", "labels", "labels_needed", "gain_low")
WHY_NOT: Mapping[WhyNot, str] = {
    "no_labels": "no label of an answer with marks",
    "too_few_keys": "fewer than three keys speak",
    "too_few_labels": "too few labels",
    "too_few_bad": "too few answers were judged as bad",
    "too_few_good": "too few answers were judged as good",
    "faded": "the labels are too old",
    "not_proven": "labels held out do not prove it",
}


def state_of(verifier: Verifier) -> str:
    """In force, or why not, with the code that receipts name."""
    return "in force" if verifier.why_not is None else f"{WHY_NOT[verifier.why_not]} ({verifier.why_not})"


def verifier_line(verifier: Verifier) -> str:
    """The verifier of one decision, in words."""
    if verifier.is_in_force:
        strongest = sorted(verifier.weights.items(), key=lambda each: (-abs(each[1]), each[0]))[:3]
        said = ", ".join(f"{name} {weight:+.2f}" for name, weight in strongest)
        return (
            f"in force by {verifier.version}, {verifier.labels} labels; an answer below a chance of "
            f"{verifier.chance_min:g} fails; strongest marks, in log-odds: {said}"
        )
    needed = verifier.labels_needed
    missing = "more of the same would not help" if needed is None else f"about {needed} more labels are needed"
    return f"not in force, every answer passes: {state_of(verifier)}; {missing}"


def verifier_rows(adjustments: Mapping[Match, Adjustment]) -> list[dict[str, object]]:
    """Each workload whose labels are of answers with marks, by name."""
    return [
        {
            "match": str(match), "version": each.id, "state": state_of(each.verifier), "labels": each.verifier.labels,
            "labels_needed": each.verifier.labels_needed, "gain_low": each.verifier.gain_low,
        }
        for match, each in sorted(adjustments.items(), key=lambda pair: str(pair[0]))
        if each.verifier is not None
    ]  # fmt: skip
