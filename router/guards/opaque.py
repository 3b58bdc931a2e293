"""A tool's turn without what only tells one call from another: request ids, nonces, handles, cursors.

A loop whose every result holds a fresh id never says the same again, and brings nothing new all the same. But an id may
also be what the work is about. It is taken for a mere name only where it looks drawn at random, stands among few others
(a page of keys is a page of content), and, where a model asks for it, was not in what the model had been told before:
an agent that deletes forty objects one by one reads their ids off a list. What the call just before gave back is no
such list: a cursor and a handle come from there, and whether they lead anywhere is for what else comes back to say.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from router.chat import Text, ToolResult
from router.guards.volatile import OUTERMOST, read_ends
from router.prompt import is_tool_turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.chat import Message, Part

OPAQUE_CHARS_MIN = 12
# More different ids than this in one turn are what it tells.
OPAQUE_MAX = 4
# No counter and no sum of bytes is so long; identifiers of services are (snowflakes).
DIGITS_MIN = 15
# Between letters and digits a random hexadecimal word of sixteen changes seven times on average, and less than twice in
# one of a thousand; `feed00000012` changes once.
HEX_CHANGES_MIN = 2
# Where all letters may stand, so often for each character; a word with a number in it changes less.
CHANGES_PER_CHAR = 0.25
# Of so many characters fewer will do: a ULID has but capitals and digits. An alphabet with `-` and `_` breaks it up.
LONG_CHARS_MIN = 20
LONG_CHANGES_MIN = 5
KINDS = 3
# What is longer is content that was encoded.
WORD = re.compile(
    r"(?<![0-9A-Za-z_+=/-])[0-9A-Za-z+/]{14,160}={1,2}(?![0-9A-Za-z_+=/-])"  # base64 to its end
    r"|(?<![0-9A-Za-z_+=-])[0-9A-Za-z_+=-]{12,160}(?![0-9A-Za-z_+=-])"
)
UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)
HEX = re.compile(r"[0-9a-fA-F]+")
BETWEEN = re.compile(r"[_+=-]")
BLANK = "\x03"


def without_ids(text: str, called: str, before: Sequence[Message]) -> str:
    """The turn's text without its opaque ids; the text itself where it has none, or more than four.

    ``called`` is what the model asked its tools for, ``before`` all that was said up to then. Linear in the text; what
    was said before is read only for ids that were asked for.
    """
    words: dict[str, None] = {}

    def note(match: re.Match[str]) -> str:
        if is_opaque(match.group()):
            words[match.group()] = None
        return match.group()

    read_ends(text, lambda part: WORD.sub(note, part))
    if not 0 < len(words) <= OPAQUE_MAX:
        return text
    asked = [word for word in words if word in called]
    blanked = words.keys() - (_told(asked, before) if asked else ())

    def blank(match: re.Match[str]) -> str:
        return BLANK if match.group() in blanked else match.group()

    return read_ends(text, lambda part: WORD.sub(blank, part)) if blanked else text


def without_nonces(text: str) -> str:
    """What a person or a program wrote without its opaque ids; the text itself where it has none.

    Of more than four the first two and the last two that stand in it go: what marks a call stands at an end.
    """
    words: dict[str, None] = {}

    def note(match: re.Match[str]) -> str:
        if is_opaque(match.group()):
            words[match.group()] = None
        return match.group()

    read_ends(text, lambda part: WORD.sub(note, part))
    if not words:
        return text
    found = list(words)
    blanked = frozenset(found if len(found) <= OPAQUE_MAX else found[:OUTERMOST] + found[-OUTERMOST:])
    return read_ends(
        text, lambda part: WORD.sub(lambda match: BLANK if match.group() in blanked else match.group(), part)
    )


def is_opaque(word: str) -> bool:
    """Whether a word of at least twelve characters looks drawn at random and not written."""
    if UUID.search(word) is not None:
        return True
    runs = BETWEEN.split(word)
    if any(_is_random(run) for run in runs):
        return True
    return len(word) >= LONG_CHARS_MIN and any(_has_all_kinds(run) for run in runs) and _is_random("".join(runs))


def _has_all_kinds(run: str) -> bool:
    return len({_kind(char) for char in run}) == KINDS


def _is_random(run: str) -> bool:
    if run.isdigit():
        return len(run) >= DIGITS_MIN
    if len(run) < OPAQUE_CHARS_MIN or run.isalpha():
        return False
    if HEX.fullmatch(run):
        return sum(one.isdigit() != two.isdigit() for one, two in pairwise(run)) >= HEX_CHANGES_MIN
    changes = sum(_kind(one) != _kind(two) for one, two in pairwise(run))
    return changes >= (LONG_CHANGES_MIN if len(run) >= LONG_CHARS_MIN else CHANGES_PER_CHAR * len(run))


def _kind(char: str) -> int:
    return 0 if char.isdigit() else 1 if char.islower() else 2


def _told(words: list[str], before: Sequence[Message]) -> set[str]:
    """Which of the words people, systems or tools had said, but for the tools' turn that the model answered."""
    end = len(before)
    while end and is_tool_turn(before[end - 1]):
        end -= 1
    missing, found = set(words), set[str]()
    for message in reversed(before[:end]):
        if message.role == "assistant":
            continue
        for text in _texts_of(message.parts):
            found |= {word for word in missing if word in text}
        missing -= found
        if not missing:
            break
    return found


def _texts_of(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            yield part.text
        elif isinstance(part, ToolResult):
            yield from _texts_of(part.parts)
