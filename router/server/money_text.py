"""Receipts for readers: exact USD text beside each amount in nano-USD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = "_nanousd"


def priced(receipt: Mapping[str, object]) -> dict[str, object]:
    """The receipt with, for each ``x_nanousd``, an ``x_usd`` of exact decimal text; also in lists and blocks."""
    found: dict[str, object] = {}
    for name, value in receipt.items():
        if isinstance(value, list | tuple):
            found[name] = [priced(each) if isinstance(each, dict) else each for each in value]
        elif isinstance(value, dict):
            found[name] = priced(value)
        else:
            found[name] = value
        if name.endswith(SUFFIX) and isinstance(value, int):
            found[name.removesuffix(SUFFIX) + "_usd"] = usd_of(value)
    return found
