"""Lines from the plain JSON values that they are stored as."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from router.decision import CostRange
from router.ledger.lines import ContextUse, Correction, Feedback, GuardTrip, Intent, Rejection, Settlement, Subject
from router.tokens import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ledger.lines import Line

Made = TypeVar("Made")


_names: dict[type[Any], frozenset[str]] = {}


def _names_of(made: type[Any]) -> frozenset[str]:
    found = _names.get(made)
    if found is None:
        found = _names[made] = frozenset(each.name for each in fields(made))
    return found


def _made(made: type[Made], plain: Mapping[str, Any], **parts: object) -> Made:
    """Only the fields that this version knows: a ledger may have been written to by a newer one."""
    if not isinstance(plain, dict):
        raise TypeError(f"a {made.__name__} is an object")
    names = _names_of(made)
    try:
        return made(**({name: value for name, value in plain.items() if name in names} | parts))
    except AssertionError as error:
        raise ValueError(f"no {made.__name__} looks like this") from error


def _range_of(plain: Mapping[str, Any] | None) -> CostRange | None:
    return None if plain is None else _made(CostRange, plain)


def _settlement_of(plain: Mapping[str, Any]) -> Settlement:
    tokens, marks = plain["tokens"], plain.get("marks")
    return _made(
        Settlement,
        plain,
        marks=None if marks is None else tuple(map(float, marks)),
        tokens=None if tokens is None else _made(TokenUsage, tokens),
        premium_cost=_range_of(plain["premium_cost"]),
    )


def parse_line(kind: str, plain: Mapping[str, Any]) -> Line:
    """The line of this kind. Raises KeyError, TypeError or ValueError where the values are not one."""
    if kind == "intent":
        subject = _made(Subject, plain["subject"])
        return _made(Intent, plain, subject=subject, accounts=tuple(plain.get("accounts", ())))
    if kind == "settlement":
        return _settlement_of(plain)
    if kind == "rejection":
        return _made(Rejection, plain, subject=_made(Subject, plain["subject"]))
    if kind == "correction":
        late = plain.get("late")
        return _made(
            Correction,
            plain,
            premium_delta=_range_of(plain["premium_delta"]),
            late=None if late is None else _settlement_of(late),
        )
    if kind == "feedback":
        return _made(Feedback, plain)
    if kind == "guard":
        return _made(GuardTrip, plain)
    if kind == "context":
        return _made(ContextUse, plain)
    raise ValueError(f"no line is called {kind!r}")
