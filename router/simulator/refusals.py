"""What a vendor refuses: one exception, rendered by each wire in its own error shape."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]


class RefusedError(Exception):
    """A call that the vendor rejects and does not bill.

    ``kind`` is one of `invalid`, `auth`, `not_found`, `too_large`, `rate_limit`, `internal`, `overloaded`; each wire
    maps it to its own status, type and wording.
    """

    def __init__(self, kind: str, message: str, *, param: str | None = None, code: str | None = None) -> None:
        """Keep the vendor-neutral reason and the vendor's own sentence."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> RefusedError:
    """A 400 with the vendor's sentence; raise what it returns."""
    return RefusedError("invalid", message, param=param, code=code)


def require(condition: object, message: str, *, param: str | None = None, code: str | None = None) -> None:
    """Refuse with a 400 unless the condition holds."""
    if not condition:
        raise invalid(message, param=param, code=code)


def is_int(value: object) -> bool:
    """Whether a JSON value is a whole number: Python's bool is an int, JSON's is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
