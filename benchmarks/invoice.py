"""The ledger against what the vendors would invoice, call by call: every difference has a named class.

Pure: plain values in, a verdict out. `money` and `crash` gather the values from processes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from router.ledger import Correction, Intent, Settlement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.ledger import Line

NANO_PER_USD = 1_000_000_000
# Faults after which no usage reaches the gateway although the vendor bills: there an estimate is all there can be.
SILENT_FAULTS = frozenset({"timeout_first_byte", "stall_mid_stream", "torn_stream", "malformed_json", "usage_missing"})
# So after these: nobody waited for the answer, or the ledger lost its disk once the vendor had been asked.
SILENT_ERRORS = frozenset({"provider_timeout", "ledger_unavailable"})

EQUAL = "equal"
UNBILLED = "neither billed nor charged"
ESTIMATED = "estimated and marked, usage never arrived"
ESTIMATED_UNBILLED = "estimated and marked, the connection broke before the answer and the vendor did not bill"
EXPIRED = "charged at the hold and marked, the gateway died before the answer's end"
EXPIRED_UNBILLED = "charged at the hold and marked, the gateway died before the vendor had begun"
EXPLAINED = (EQUAL, UNBILLED, ESTIMATED, ESTIMATED_UNBILLED, EXPIRED, EXPIRED_UNBILLED)
MISSING = "billed, not in the ledger"
DOUBLED_BILL = "billed twice under one attempt"
DOUBLED_LINE = "settled twice"
UNCHARGED = "billed, not charged"
PHANTOM = "charged as reported, not billed"
DIFFERENT = "reported, and not equal to the bill"
UNFOUNDED = "estimated, and nothing says why"
OPEN = "still open"
UNEXPLAINED = (MISSING, DOUBLED_BILL, DOUBLED_LINE, UNCHARGED, PHANTOM, DIFFERENT, UNFOUNDED, OPEN)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a vendor as the ledger has it; ``settlement`` is the last word on how it ended."""

    attempt_id: str
    model: str
    hold_nanousd: int
    cost_nanousd: int
    settlement: Settlement | None
    settlements: int


@dataclass(slots=True)
class Verdict:
    """Attempts by class, money by class, and the attempts that no class explains.

    ``off_nanousd`` sums how far each attempt's charge lies from its bill, whichever is more: errors do not cancel out.
    """

    attempts: Counter[str] = field(default_factory=Counter)
    charged_nanousd: Counter[str] = field(default_factory=Counter)
    billed_nanousd: Counter[str] = field(default_factory=Counter)
    off_nanousd: Counter[str] = field(default_factory=Counter)
    by_cause: dict[str, Counter[str]] = field(default_factory=dict)
    unexplained: list[dict[str, object]] = field(default_factory=list)

    def note(self, name: str, attempt_id: str, charged: int, billed: int, cause: str = "") -> None:
        """Count one attempt."""
        self.attempts[name] += 1
        self.charged_nanousd[name] += charged
        self.billed_nanousd[name] += billed
        self.off_nanousd[name] += abs(charged - billed)
        if cause:
            self.by_cause.setdefault(f"{name}: {cause}", Counter()).update(
                attempts=1, charged_nanousd=charged, billed_nanousd=billed, off_nanousd=abs(charged - billed)
            )
        if name in UNEXPLAINED:
            found = {"attempt": attempt_id, "class": name, "charged_nanousd": charged, "billed_nanousd": billed}
            self.unexplained.append({**found, "cause": cause})

    def shown(self) -> dict[str, object]:
        """The verdict for a result file: every class is named, also those that nothing fell into."""
        return {
            "classes": {
                name: {
                    "attempts": self.attempts[name],
                    "charged_nanousd": self.charged_nanousd[name],
                    "billed_nanousd": self.billed_nanousd[name],
                    "off_nanousd": self.off_nanousd[name],
                }
                for name in (*EXPLAINED, *UNEXPLAINED)
            },
            "by_cause": {cause: dict(counts) for cause, counts in sorted(self.by_cause.items())},
            "unexplained": self.unexplained,
        }


def billed_nanousd(line: Mapping[str, Any]) -> int:
    """A bill line's exact cost, rounded once, half to even, as an invoice line would be."""
    return int((Decimal(line["cost_usd"]) * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def attempts_of(lines: Iterable[Line]) -> list[Attempt]:
    """The attempts of one request from its ledger lines."""
    intents: dict[int, Intent] = {}
    ends: dict[int, list[Settlement]] = {}
    costs: Counter[int] = Counter()
    for line in lines:
        if isinstance(line, Intent):
            intents[line.attempt] = line
        elif isinstance(line, Settlement):
            ends.setdefault(line.attempt, []).append(line)
            costs[line.attempt] += line.cost_nanousd
        elif isinstance(line, Correction):
            costs[line.attempt] += line.cost_delta_nanousd
            if line.late is not None:
                ends[line.attempt][-1] = line.late
    return [
        Attempt(
            attempt_id=f"{intent.subject.decision_id}-{number}",
            model=intent.model,
            hold_nanousd=intent.hold_nanousd,
            cost_nanousd=costs[number],
            settlement=ends[number][-1] if number in ends else None,
            settlements=len(ends.get(number, ())),
        )
        for number, intent in intents.items()
    ]


def verdict_of(attempts: Sequence[Attempt], bill: Sequence[Mapping[str, Any]]) -> Verdict:
    """Match the ledger's attempts with the bill by the id that each attempt carried to its vendor."""
    verdict = Verdict()
    billed: dict[str, Mapping[str, Any]] = {}
    for line in bill:
        name = str(line["client_request_id"])
        if name in billed:
            verdict.note(DOUBLED_BILL, name, 0, billed_nanousd(line))
        billed[name] = line
    known = {attempt.attempt_id for attempt in attempts}
    for name, line in billed.items():
        if name not in known:
            verdict.note(MISSING, name, 0, billed_nanousd(line), str(line["fault"]))
    for attempt in attempts:
        name, amount, cause = _class_of(attempt, billed.get(attempt.attempt_id))
        verdict.note(name, attempt.attempt_id, attempt.cost_nanousd, amount, cause)
    return verdict


def _class_of(attempt: Attempt, line: Mapping[str, Any] | None) -> tuple[str, int, str]:
    end, charged = attempt.settlement, attempt.cost_nanousd
    amount = 0 if line is None else billed_nanousd(line)
    fault = "" if line is None else str(line["fault"] or "")
    if end is None:
        return OPEN, amount, fault
    if attempt.settlements > 1:
        return DOUBLED_LINE, amount, fault
    if end.outcome == "expired":
        return (EXPIRED_UNBILLED if line is None else EXPIRED), amount, fault
    error = end.error_code or ""
    if line is None:
        if charged == 0:
            return UNBILLED, 0, error
        is_broken = end.usage_source == "estimated" and error == "provider_unavailable"
        return (ESTIMATED_UNBILLED if is_broken else PHANTOM), 0, error
    if end.usage_source == "reported":
        return (EQUAL if charged == amount else DIFFERENT), amount, fault
    if end.usage_source == "none":
        return (EQUAL if amount == 0 else UNCHARGED), amount, fault
    is_founded = fault in SILENT_FAULTS or error in SILENT_ERRORS or end.outcome == "client_left"
    return (ESTIMATED if is_founded else UNFOUNDED), amount, fault or error or end.outcome
