"""Budgets: what may still be spent, as claims on accounts, and what a store answers to them."""

from __future__ import annotations

from router.budgets.terms import (
    Balance,
    Budget,
    BudgetKind,
    BudgetScope,
    BudgetWindow,
    Claim,
    Denial,
    Expired,
    Grant,
    OpenHold,
    WhenExhausted,
    Window,
    is_aside,
)

__all__ = [
    "Balance",
    "Budget",
    "BudgetKind",
    "BudgetScope",
    "BudgetWindow",
    "Claim",
    "Denial",
    "Expired",
    "Grant",
    "OpenHold",
    "WhenExhausted",
    "Window",
    "is_aside",
]
