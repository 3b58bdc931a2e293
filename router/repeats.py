"""What of an input was sent before, as fingerprints: what a prompt cache can serve, what it cannot, and what breaks it.

Vendors' caches serve a beginning that equals, to the byte, the beginning of an earlier request. So a text that an
owner sends again is one of three things: part of such a beginning, which costs a fraction; the same words behind
something that differs, which cost the full price again; or a repetition within the request itself. Where all that is
new in one piece is a time or a number, and what follows it is as before, that piece breaks the cache.

The text is read in pieces: a system prompt's beginning by line and sentence, since that is where times stand, all
else by paragraph. What is known lives in this process alone, for so many fingerprints; it reckons costs for people to
read and decides nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from router.chat import Text, ToolCall, ToolResult
from router.guards import STAMP, bare, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from router.chat import Part, Request

Broken: TypeAlias = Literal["system", "messages"]
BreakWhy: TypeAlias = Literal["time", "number"]

# Below this many characters a piece ("Yes.", "---") may stand anywhere and says nothing.
PIECE_CHARS_MIN = 24
# A system prompt is read by sentence up to here, by paragraph behind it.
FINE_CHARS = 16_384
PIECES_MAX = 8_192
# A cache that breaks late loses little: so many pieces with a number in them are looked at, each up to this length.
MOVING_MAX, MOVING_CHARS_MAX = 12, 512
FINGERPRINTS_MAX = 65_536
SENTENCES = re.compile(r"\n+|(?<=[.;!?]) ")
PARAGRAPHS = re.compile(r"\n\s*\n")
DIGIT = re.compile(r"[0-9]")


class CacheBreak(NamedTuple):
    """A piece that differs from last time by a time or a number alone, what stands before and behind it being the same.

    ``at_char`` is where that time or number stands, counted from the beginning of the input's text, in which the
    system prompt comes first. ``behind_chars`` follow the piece as they did before: no cache serves them.
    """

    part: Broken
    why: BreakWhy
    at_char: int
    behind_chars: int


class Repeated(NamedTuple):
    """Characters of an input by whether they were sent before; what is left of ``chars`` is new.

    ``prefix`` begin an earlier request of the same owner too, ``again`` were sent but stand behind something that
    differs, ``twice`` stand in this request already.
    """

    chars: int
    prefix: int = 0
    again: int = 0
    twice: int = 0
    broken: CacheBreak | None = None


class _Piece(NamedTuple):
    part: Broken
    start: int
    text: str
    mark: int


@dataclass(slots=True)
class Repeats:
    """Fingerprints of what owners sent; the older half is forgotten as a whole past ``most``."""

    most: int = FINGERPRINTS_MAX
    _young: set[int] = field(default_factory=set)
    _old: set[int] = field(default_factory=set)

    def look(self, request: Request, owner: str | None) -> Repeated:
        """What of the request its owner sent before, and remember it; linear in its size."""
        mine = hash(("owner", owner))
        pieces, chars = _pieces_of(request)
        chains = [hash((mine, tuple((tool.name, tool.description, len(tool.parameters)) for tool in request.tools)))]
        for piece in pieces:
            chains.append(hash((chains[-1], piece.mark)))
        told = [hash((mine, piece.mark)) for piece in pieces]
        moving = _moving(pieces, chains)
        same = next((index for index in range(len(pieces)) if not self._knows(chains[index + 1])), len(pieces))
        again = twice = 0
        here: set[int] = set(told[:same])
        for piece, mark in zip(pieces[same:], told[same:], strict=True):
            size = len(piece.text)
            if size < PIECE_CHARS_MIN:
                continue
            twice += size if mark in here else 0
            again += size if mark not in here and self._knows(mark) else 0
            here.add(mark)
        broken = None
        if same in moving and self._knows(moving[same]):
            behind = _while_known(pieces[same + 1 :], told[same + 1 :], self._knows)
            broken = _break_of(pieces[same], behind)
        self._keep((*chains[1:], *told, *moving.values()))
        return Repeated(chars, sum(len(piece.text) for piece in pieces[:same]), again, twice, broken)

    def _knows(self, mark: int) -> bool:
        return mark in self._young or mark in self._old

    def _keep(self, marks: Iterable[int]) -> None:
        self._young.update(marks)
        if len(self._young) > self.most // 2:
            self._old, self._young = self._young, set()


def _moving(pieces: Sequence[_Piece], chains: Sequence[int]) -> dict[int, int]:
    """By place, a mark of each early piece with a number: what stands before it, itself without it, what follows."""
    found: dict[int, int] = {}
    for index, piece in enumerate(pieces[:-1]):
        if len(piece.text) <= MOVING_CHARS_MAX and DIGIT.search(piece.text):
            still = bare(normalised(piece.text)[0])
            found[index] = hash((chains[index], still, pieces[index + 1].mark))
            if len(found) >= MOVING_MAX:
                break
    return found


def _while_known(pieces: Sequence[_Piece], told: Sequence[int], knows: Callable[[int], bool]) -> int:
    size = 0
    for piece, mark in zip(pieces, told, strict=True):
        if not knows(mark):
            break
        size += len(piece.text)
    return size


def _break_of(piece: _Piece, behind_chars: int) -> CacheBreak:
    stamp = STAMP.search(piece.text)
    place = stamp or DIGIT.search(piece.text)
    assert place is not None, "only pieces with a number are looked at"
    why: BreakWhy = "time" if stamp is not None else "number"
    return CacheBreak(piece.part, why, piece.start + place.start(), behind_chars)


def _pieces_of(request: Request) -> tuple[list[_Piece], int]:
    """The input's text in pieces, at most 8,192 of them, and how many characters it has in all."""
    pieces: list[_Piece] = []
    done = 0
    for message in request.messages:
        part: Broken = "system" if message.role == "system" else "messages"
        mark = hash(message.role)
        for text in _texts_of(message.parts):
            found = _split(text, is_fine=part == "system" and done < FINE_CHARS)
            for start, piece in islice(found, PIECES_MAX - len(pieces)):
                pieces.append(_Piece(part, done + start, piece, hash((mark, piece))))
            done += len(text)
    return pieces, done


def _split(text: str, *, is_fine: bool) -> Iterator[tuple[int, str]]:
    """Pieces and where they start; each keeps what divides it from the next, so that they sum to the text."""
    at = 0
    if is_fine:
        for match in SENTENCES.finditer(text, 0, FINE_CHARS):
            yield at, text[at : match.end()]
            at = match.end()
    for match in PARAGRAPHS.finditer(text, at):
        yield at, text[at : match.end()]
        at = match.end()
    if at < len(text):
        yield at, text[at:]


def _texts_of(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            yield part.text
        elif isinstance(part, ToolCall):
            yield part.arguments
        elif isinstance(part, ToolResult):
            yield from _texts_of(part.parts)
