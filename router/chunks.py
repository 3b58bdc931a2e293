"""Retrieved context in a text: where it begins and ends, by stated rules and nothing but the text.

A chunk is, in a turn that a user wrote,

1. an element of a tag that holds documents (`<document>`, `<doc>`, `<source>`, `<passage>`, `<chunk>`, `<snippet>`,
   `<excerpt>`, `<result>`, `<search_result>`, `<context>`, `<page>`, `<article>`), the innermost where they are nested;
2. else, where two lines or more begin a numbered source (`[1]`, `Source 2:`, `Document 3:`, `Passage #4 -`), what
   stands from one to the next, the last up to the first blank line;
3. else, where a line announces them (`Context:`, `Sources:`, `Use the following pieces of context`), every paragraph
   between that line's and the question: the paragraph that a line such as `Question:` begins, or the last one;
4. else, where a turn has four text parts or more, each but the first and the last.

What is no chunk is the caller's own words, and of a turn that is nothing but chunks the last one is. Linear in the
text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from router.chat import Text
from router.prompt import is_tool_turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.chat import Message

_TAGS = "document|doc|source|passage|chunk|snippet|excerpt|result|search_result|context|page|article"
_NAMES = "document|doc|source|passage|chunk|snippet|excerpt|result"
TAG = re.compile(rf"<(/?)({_TAGS})(?:\s[^<>]{{0,400}})?>", re.IGNORECASE)
NUMBERED = re.compile(
    rf"^[ \t]*(?:\[\d{{1,4}}\]|(?:#{{1,4}} ?)?(?:{_NAMES}) ?[#№]?\d{{1,4}} ?[:.)\-])", re.IGNORECASE | re.MULTILINE
)
_GIVEN = "context|sources|documents|passages|excerpts|search results"
ANNOUNCED = re.compile(
    rf"^[^\n]{{0,200}}(?:\b(?:{_GIVEN}|references|background)[ \t]*:[ \t]*$"
    rf"|\bfollowing (?:pieces of |retrieved |relevant )?(?:{_GIVEN})\b)",
    re.IGNORECASE | re.MULTILINE,
)
ASKED = re.compile(r"^[ \t]*(?:user )?(?:question|query|task|instruction)s?[ \t]*:", re.IGNORECASE | re.MULTILINE)
BLANK = re.compile(r"\n[ \t\r]*\n\s*")
PARTS_MIN = 4
NUMBERED_MIN = 2


class Chunk(NamedTuple):
    """Characters ``start`` to ``end`` of the text part ``part`` (all parts counted) of message ``message``."""

    message: int
    part: int
    start: int
    end: int


def chunks_of(messages: Sequence[Message]) -> list[Chunk]:
    """The retrieved chunks of every turn that a user wrote, in order."""
    found: list[Chunk] = []
    for index, message in enumerate(messages):
        if message.role != "user" or is_tool_turn(message):
            continue
        texts = [(at, part.text) for at, part in enumerate(message.parts) if isinstance(part, Text)]
        mine = [Chunk(index, at, start, end) for at, text in texts for start, end in spans_of(text)]
        if not mine and len(texts) >= PARTS_MIN:
            mine = [Chunk(index, at, 0, len(text)) for at, text in texts[1:-1] if text.strip()]
        # A turn is never emptied.
        found += mine if mine and around(message, mine).strip() else mine[:-1]
    return found


def around(message: Message, chunks: Sequence[Chunk]) -> str:
    """What the message says beside its chunks."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for each in chunks:
        spans.setdefault(each.part, []).append((each.start, each.end))
    said: list[str] = []
    for at, part in enumerate(message.parts):
        if isinstance(part, Text):
            said.append(without(part.text, spans.get(at, ())))
    return "\n".join(said)


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text without the spans, and without the white space after each."""
    kept: list[str] = []
    done = 0
    for start, end in sorted(spans):
        kept.append(text[done:start])
        done = end
        while done < len(text) and text[done].isspace():
            done += 1
    return "".join((*kept, text[done:]))


def spans_of(text: str) -> list[tuple[int, int]]:
    """Where chunks stand in one text."""
    return _tagged(text) or _numbered(text) or _announced(text)


def _tagged(text: str) -> list[tuple[int, int]]:
    if "</" not in text:
        return []
    open_tags: list[tuple[str, int, int]] = []
    found: list[tuple[int, int]] = []
    for match in TAG.finditer(text):
        name = match[2].lower()
        if not match[1]:
            open_tags.append((name, match.start(), len(found)))
            continue
        while open_tags:
            opened, start, before = open_tags.pop()
            if opened == name:
                if len(found) == before:  # nothing within it is a chunk
                    found.append((start, match.end()))
                break
    return found


def _numbered(text: str) -> list[tuple[int, int]]:
    starts = [match.start() for match in NUMBERED.finditer(text)]
    if len(starts) < NUMBERED_MIN:
        return []
    blank = BLANK.search(text, starts[-1])
    last = len(text) if blank is None else blank.start()
    asked = ASKED.search(text, starts[-1])
    ends = [*starts[1:], last if asked is None else min(last, asked.start())]
    return list(zip(starts, ends, strict=True))


def _announced(text: str) -> list[tuple[int, int]]:
    announced = ANNOUNCED.search(text)
    if announced is None:
        return []
    after = BLANK.search(text, announced.end())
    if after is None:
        return []
    paragraphs = list(_paragraphs(text, after.end()))
    asked = ASKED.search(text, after.end())
    if asked is None:
        return paragraphs[:-1]
    return [(start, end) for start, end in paragraphs if end <= asked.start()]


def _paragraphs(text: str, start: int) -> Iterator[tuple[int, int]]:
    for match in BLANK.finditer(text, start):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if text[start:].strip():
        yield start, len(text)
