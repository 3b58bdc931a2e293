"""Fields of a decoded JSON body, read strictly: what is there has the right type and range, or is refused by name.

A null counts as absent, as OpenAI's own SDKs send it. Every function raises RequestError naming the field; the value
itself is never repeated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from router.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Whole numbers above this do not survive a reader that holds numbers as doubles.
INTEGER_MAX = 2**53 - 1


def bad(param: str, message: str) -> RequestError:
    """A refusal that names its field."""
    return RequestError(f"{param}: {message}", param=param)


def text_of(value: object, param: str) -> str:
    """Text."""
    if not isinstance(value, str):
        raise bad(param, "must be text")
    return value


def name_of(value: object, param: str) -> str:
    """A name of a function or a schema."""
    if not isinstance(value, str) or NAME.fullmatch(value) is None:
        raise bad(param, "must be 1 to 64 letters, digits, `_` or `-`")
    return value


def list_of(value: object, param: str, limit: int) -> list[object]:
    """A list of at most ``limit`` entries; absent is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad(param, "must be a list")
    if len(value) > limit:
        raise bad(param, f"has {len(value)} entries, at most {limit}")
    return value


def object_of(value: object, param: str) -> dict[str, object]:
    """An object."""
    if not isinstance(value, dict):
        raise bad(param, "must be an object")
    return value


def bool_of(value: object, param: str) -> bool | None:
    """True, false, or absent."""
    if value is None or isinstance(value, bool):
        return value
    raise bad(param, "must be true or false")


def integer_of(value: object, param: str, low: int) -> int | None:
    """A whole number of at least ``low``, or absent."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= INTEGER_MAX:
        raise bad(param, f"must be a whole number of at least {low}")
    return value


def number_of(body: Mapping[str, object], name: str, low: float, high: float) -> float | None:
    """A number in ``low..high``, both inclusive, or absent."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise bad(name, f"must be a number in {low:g}..{high:g}")
    return float(value)


def optional_text_of(value: object, param: str) -> str | None:
    """Text, or absent."""
    return None if value is None else text_of(value, param)
