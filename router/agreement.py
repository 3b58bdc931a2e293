"""Whether two answers of one model to one request say the same, where that can be told without asking anybody.

A model that is right tends to say the same again, one that guesses does not (self-consistency: Wang et al., ICLR 2023).
What is compared is the answer and not its words: calls by name and arguments, JSON by value, a short text, and of a
longer one the choice or the number that it ends in. Where two answers end in neither, nothing is said of them.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeAlias

from router.chat import Text, ToolCall

if TYPE_CHECKING:
    from router.chat import Reply

Said: TypeAlias = tuple[str, object]

SHORT_CHARS_MAX = 60
ENDING_CHARS = 400
_MARKS = str.maketrans("", "", "*_`$\\{}[]()\"'\u201c\u201d")
BOXED = re.compile(r"\\boxed\{([^{}]{1,80})\}")
STATED = re.compile(
    r"\b(?:final answer|the answer|answer|result|correct (?:choice|option|answer))\b(?: is| =|:)*\s*[:=]?\s*"
    r"(?:option |choice )?[*(\"']*([A-Ja-j](?![A-Za-z])|[-+]?[$\u20ac\u00a3]?\d[\d,. ]*)",
    re.IGNORECASE,
)
CHOICE = re.compile(r"^[\s*(\"']*([A-J])[).:*\"']*(?:\s|$)")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
LETTER = re.compile(r"[A-J]", re.IGNORECASE)


def agree(first: Reply, second: Reply) -> bool:
    """Whether they say the same, or at least one of them nothing that could be compared."""
    one, other = said_by(first), said_by(second)
    return one is None or other is None or one == other


def said_by(reply: Reply) -> Said | None:
    """What an answer comes to, as a kind and a value; None where it is prose."""
    calls = [part for part in reply.parts if isinstance(part, ToolCall)]
    if calls:
        return "calls", sorted((call.name, _canonical(call.arguments)) for call in calls)
    text = "".join([part.text for part in reply.parts if isinstance(part, Text)]).strip()
    is_json, value = _decoded(text)
    if is_json and isinstance(value, dict | list):
        return "json", _canonical(text)
    boxed = BOXED.findall(text)
    if boxed:
        return _value_of(boxed[-1])
    ending = text[-ENDING_CHARS:]
    stated = STATED.findall(ending)
    if stated:
        return _value_of(stated[-1])
    last = next((line for line in reversed(ending.splitlines()) if line.strip()), "")
    choice = CHOICE.match(last)
    if choice:
        return _value_of(choice[1])
    if len(text) <= SHORT_CHARS_MAX:
        return _value_of(text)
    numbers = NUMBER.findall(last)
    return _value_of(numbers[-1]) if len(numbers) == 1 else None


def _value_of(text: str) -> Said:
    plain = text.translate(_MARKS).strip().rstrip(".").strip().lower()
    if LETTER.fullmatch(plain):
        return "choice", plain
    number = re.sub(r"[,\s$\u20ac\u00a3%]", "", plain)
    try:
        value = Decimal(number)
    except InvalidOperation:
        return "text", " ".join(plain.split())
    return ("number", value.normalize()) if value.is_finite() else ("text", plain)


def _decoded(text: str) -> tuple[bool, object]:
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def _canonical(text: str) -> str:
    is_json, value = _decoded(text or "{}")
    return json.dumps(value, sort_keys=True) if is_json else text
