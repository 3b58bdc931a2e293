"""Values out of a vendor's JSON, read without trust: a count is a whole number of at least 0, or unknown."""

from __future__ import annotations

# No answer has more tokens; what claims to is no count, and would not fit the ledger's sums.
COUNT_MAX = 10**12


def count_in(block: object, name: str) -> int | None:
    """The count at ``name``; None where it is missing, null, negative or no whole number."""
    value = block.get(name) if isinstance(block, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX else None


def count_or_zero_in(block: object, name: str) -> int | None:
    """The count at ``name``, 0 where the vendor has none to report; None where what stands there is no count."""
    if not isinstance(block, dict) or block.get(name) is None:
        return 0
    return count_in(block, name)


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
