"""The close name that a misspelt one may have meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSE = 0.6


def meant(name: str, known: Iterable[str], closeness: float = CLOSE) -> str:
    """``; did you mean `x`?`` for the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), 1, closeness)
    return f"; did you mean `{close[0]}`?" if close else ""
