"""Lines as bytes: JSON in the order of their fields, integers for money, and nothing that a database cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from router.ledger.fold import attempt_of, decision_id_of, kind_of, line_key_of
from router.ledger.lines import Correction, Intent, Rejection, Settlement
from router.ledger.plain import parse_line

if TYPE_CHECKING:
    from router.ledger.lines import Line

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
MONEY_MAX_NANOUSD = 2**62


class Encoded(NamedTuple):
    """A line with its identity and its bytes, as every store writes them."""

    line: Line
    kind: str
    decision_id: str
    attempt: int
    line_key: str
    payload: bytes


def encode_line(line: Line) -> Encoded:
    """The line and its bytes; texts that no database holds (NUL, half a surrogate pair) are replaced in both.

    Raises TypeError on values that are not JSON: a programmer's error, found before anything is queued.
    """
    assert _is_money_sound(line), "an amount does not fit 64 bits"
    try:
        payload = orjson.dumps(line, default=_plain_of, option=OPTIONS)
    except TypeError:
        line = _cleaned(line)
        payload = orjson.dumps(line, default=_plain_of, option=OPTIONS)
    else:
        if b"\\u0000" in payload or not _is_finite(line):
            line = _cleaned(line)
            payload = orjson.dumps(line, default=_plain_of, option=OPTIONS)
    return Encoded(line, kind_of(line), decision_id_of(line), attempt_of(line), line_key_of(line), payload)


def decode_line(kind: str, payload: bytes) -> Line:
    """The line that these bytes were. Raises ValueError, KeyError or TypeError where they are not one."""
    return parse_line(kind, orjson.loads(payload))


def _plain_of(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a ledger line cannot hold a {type(value).__name__}")


def _is_finite(line: Line) -> bool:
    """JSON has no infinity: it would be read back as null and no longer equal what was written."""
    if not isinstance(line, Intent | Rejection):
        return True
    subject = line.subject
    return all(
        value is None or isfinite(value) for value in (subject.tolerance, subject.complexity, subject.expected_loss)
    )


def _is_money_sound(line: Line) -> bool:
    if isinstance(line, Intent):
        return 0 <= line.hold_nanousd < MONEY_MAX_NANOUSD
    if isinstance(line, Settlement):
        return abs(line.cost_nanousd) < MONEY_MAX_NANOUSD
    return not isinstance(line, Correction) or abs(line.cost_delta_nanousd) < MONEY_MAX_NANOUSD


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - any JSON value goes in, the same shape comes out
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {_cleaned(name): _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_cleaned(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _cleaned(getattr(value, each.name)) for each in fields(value)})
    return value
