"""The ledger's pure part: the lines, what they add up to, the chain that binds them, and how they are checked."""

from __future__ import annotations

from router.ledger.chain import Finding, StoredLine, genesis_of, link_hash
from router.ledger.fold import Folio, fold_lines
from router.ledger.lines import (
    Arm,
    ContextUse,
    Correction,
    Feedback,
    GuardTrip,
    Intent,
    Line,
    Outcome,
    Rejection,
    RequestQuery,
    RequestRow,
    RequestTotals,
    Settlement,
    Spend,
    Standing,
    Subject,
    TripQuery,
    UsageSource,
)

__all__ = [
    "Arm",
    "ContextUse",
    "Correction",
    "Feedback",
    "Finding",
    "Folio",
    "GuardTrip",
    "Intent",
    "Line",
    "Outcome",
    "Rejection",
    "RequestQuery",
    "RequestRow",
    "RequestTotals",
    "Settlement",
    "Spend",
    "Standing",
    "StoredLine",
    "Subject",
    "TripQuery",
    "UsageSource",
    "fold_lines",
    "genesis_of",
    "link_hash",
]
