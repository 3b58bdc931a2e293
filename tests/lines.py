"""Ledger lines for tests: small, valid, and whatever the test is about on top."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from router.decision import CostRange
from router.ledger import ContextUse, Correction, Feedback, Intent, Rejection, Settlement, Subject
from router.tokens import TokenUsage

START_MS = 1_793_000_000_000
LEASE_MS = 900_000


@dataclass
class StillClock:
    """A clock that moves only when told to."""

    time_ms: int = START_MS

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return self.time_ms / 1000


def subject_line(decision_id: str = "d1", **changes: Any) -> Subject:
    subject = Subject(
        decision_id=decision_id,
        surface="openai_chat",
        is_streamed=False,
        team="search",
        project="web",
        key_id="key-1",
        session_id="session-1",
        tags={"feature": "find"},
        idempotency_key=None,
        quality_tier="balanced",
        tolerance=0.05,
        arm="routed",
        reason="cheapest_within_tolerance",
        premium="claude-opus",
        complexity=0.25,
        expected_loss=0.0125,
        policy_revision="policy",
        price_revision="price",
        quality_revision="quality",
        prompt_hash="00ff",
    )
    return replace(subject, **changes)


def intent_line(decision_id: str = "d1", attempt: int = 1, *, time_ms: int = START_MS, **changes: Any) -> Intent:
    hold = changes.pop("hold_nanousd", 5_000_000)
    accounts = changes.pop("accounts", ())
    lease_ms = changes.pop("lease_ms", LEASE_MS)
    model = changes.pop("model", "haiku")
    receipt = changes.pop("receipt", {"model": model, "features": {"bytes": 12.5}})
    return Intent(
        subject=subject_line(decision_id, **changes),
        attempt=attempt,
        time_ms=time_ms,
        model=model,
        vendor="anthropic",
        hold_nanousd=hold,
        lease_expires_ms=time_ms + lease_ms,
        receipt=receipt if attempt == 1 else None,
        accounts=accounts,
    )


def settlement_line(decision_id: str = "d1", attempt: int = 1, **changes: Any) -> Settlement:
    settlement = Settlement(
        decision_id=decision_id,
        attempt=attempt,
        time_ms=START_MS + 500,
        outcome="answered",
        tokens=TokenUsage(input_uncached=100, cache_read=20, output_text=50, output_reasoning=5),
        usage_source="reported",
        cost_nanousd=1_234_567,
        premium_cost=CostRange(4_000_000, 5_000_000, 6_000_000),
        latency_ms=480,
        first_byte_ms=120,
        vendor_id="msg_1",
        finish_reason="stop",
    )
    return replace(settlement, **changes)


def failure_line(decision_id: str = "d1", attempt: int = 1, cost_nanousd: int = 0) -> Settlement:
    return settlement_line(
        decision_id,
        attempt,
        outcome="failed",
        tokens=None,
        usage_source="estimated" if cost_nanousd else "none",
        cost_nanousd=cost_nanousd,
        premium_cost=None,
        error_code="provider_unavailable",
    )


def rejection_line(decision_id: str = "d1", *, time_ms: int = START_MS, **changes: Any) -> Rejection:
    return Rejection(subject_line(decision_id, reason="refused", **changes), time_ms, "no_eligible_model")


def correction_line(decision_id: str = "d1", attempt: int = 1, delta: int = -100) -> Correction:
    return Correction(decision_id, attempt, START_MS + 900, delta, CostRange(-1, -2, -3), "invoice")


def feedback_line(decision_id: str = "d1", score: float = 0.75) -> Feedback:
    return Feedback(decision_id, START_MS + 1000, score, "thumbs", "key-1")


def context_line(decision_id: str = "d1", time_ms: int = START_MS, **changes: Any) -> ContextUse:
    fields: dict[str, Any] = {
        "model": "haiku", "team": "search", "project": "web", "key_id": "key-1", "tags": {"app": "find"},
        "input_tokens": 2_000, "input_cost_nanousd": 400_001, "parts": {"system": 1_500, "question": 400, "other": 100},
        "prefix_tokens": 10, "again_tokens": 300, "twice_tokens": 20, "again_nanousd": 60_000, "twice_nanousd": 4_000,
        "break_part": "system", "break_why": "time", "break_at_char": 26, "lost_tokens": 300, "lost_nanousd": 54_000,
    }  # fmt: skip
    return ContextUse(decision_id=decision_id, time_ms=time_ms, **{**fields, **changes})
