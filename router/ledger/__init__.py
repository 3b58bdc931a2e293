"""The ledger's pure part: the lines, what they add up to, the chain that binds them, and how they are checked."""

from __future__ import annotations

from router.ledger.chain import Finding, StoredLine, genesis_of, link_hash
from router.ledger.fold import Folio, fold_lines
from router.ledger.lines import (
    Arm,
    Correction,
    Feedback,
    Intent,
    Line,
    Outcome,
    Rejection,
    RequestQuery,
    RequestRow,
    RequestTotals,
    Settlement,
    Subject,
    UsageSource,
)

__all__ = [
    "Arm",
    "Correction",
    "Feedback",
    "Finding",
    "Folio",
    "Intent",
    "Line",
    "Outcome",
    "Rejection",
    "RequestQuery",
    "RequestRow",
    "RequestTotals",
    "Settlement",
    "StoredLine",
    "Subject",
    "UsageSource",
    "fold_lines",
    "genesis_of",
    "link_hash",
]
