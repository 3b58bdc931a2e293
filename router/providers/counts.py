"""Counts out of a vendor's JSON: a whole number of at least 0, or nothing. Unknown is not zero."""

from __future__ import annotations


def count_in(block: object, name: str) -> int | None:
    """The count at ``name``; None where it is missing, null, negative or no whole number."""
    value = block.get(name) if isinstance(block, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def list_in(block: object, name: str) -> list[dict[str, object]]:
    """The objects of the list at ``name``; empty where there is none."""
    value = block.get(name) if isinstance(block, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def object_in(block: object, name: str) -> dict[str, object]:
    """The object at ``name``; empty where there is none."""
    value = block.get(name) if isinstance(block, dict) else None
    return value if isinstance(value, dict) else {}


def text_in(block: object, name: str) -> str:
    """The text at ``name``; empty where there is none."""
    value = block.get(name) if isinstance(block, dict) else None
    return value if isinstance(value, str) else ""
