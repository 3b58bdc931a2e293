"""A tool's arguments, which are JSON as a model wrote it, or should be."""

from __future__ import annotations

import json

# A longer text is not parsed: it is taken as the model wrote it.
ARGUMENTS_CHARS_MAX = 65_536


def canonical(arguments: str) -> str:
    """A tool's arguments with their keys in order, so that spacing and order make no difference."""
    if len(arguments) > ARGUMENTS_CHARS_MAX:
        return arguments
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments


def strings_in(arguments: str) -> list[str]:
    """The texts of JSON arguments; the text itself where it is no JSON."""
    if len(arguments) > ARGUMENTS_CHARS_MAX:
        return [arguments]
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return [arguments]
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found
