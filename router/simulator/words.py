"""Answers' text: varied, plausible, worthless. Sentences are composed once, answers are drawn from them."""

from __future__ import annotations

import re
import zlib
from random import Random

_SUBJECTS = (
    "The first approach",
    "A smaller batch",
    "This version",
    "The main constraint",
    "Your second option",
    "The underlying cause",
    "A careful reader",
    "The usual explanation",
    "Each of the steps",
    "The measured difference",
    "An earlier draft",
    "The simplest reading",
    "The remaining part",
    "A typical example",
    "The result",
    "One detail",
    "The trade-off",
    "Most of the evidence",
)
_VERBS = (
    "depends on",
    "points towards",
    "rests on",
    "leaves room for",
    "takes care of",
    "follows from",
    "is easier to explain with",
    "holds up well against",
    "can be checked with",
    "should be compared with",
    "changes little under",
    "gains most from",
    "agrees with",
    "says something about",
)
_OBJECTS = (
    "the order of the inputs",
    "a short list of cases",
    "the numbers given above",
    "how often the data change",
    "a second independent source",
    "the budget for the quarter",
    "two quiet assumptions",
    "the shape of the curve",
    "a table of known values",
    "the way people ask for it",
    "the cost of being wrong",
    "the definition in use",
    "what happened the year before",
    "a plain description of the goal",
    "the limits of the method",
    "the weather on the day",
)
_TAILS = (
    "",
    "",
    "",
    ", at least in the common case",
    ", which is why it comes first",
    ", as a quick test shows",
    " once the edge cases are set aside",
    " when the sample is large enough",
    ", although there are exceptions",
    " in practice",
    ", and that is usually enough",
    " for most readers",
)
_OPENERS = ("", "", "", "In short, ", "Even so, ", "By contrast, ", "To begin with, ", "More precisely, ", "Finally, ")

_ARITHMETIC = re.compile(r"(-?\d{1,9})\s*([-+*x\u00d7])\s*(\d{1,9})(?!\.?\d)")
_COMPARED = tuple(re.compile(rf'"answer_{name}": ("(?:[^"\\]|\\.)*")') for name in "ab")
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORD = re.compile(r"[a-z0-9]+")


def _composed() -> tuple[str, ...]:
    draw = Random(20_261_101)
    sentences = []
    for _ in range(900):
        opener = draw.choice(_OPENERS)
        subject = draw.choice(_SUBJECTS)
        subject = subject[0].lower() + subject[1:] if opener else subject
        sentences.append(f"{opener}{subject} {draw.choice(_VERBS)} {draw.choice(_OBJECTS)}{draw.choice(_TAILS)}. ")
    return tuple(dict.fromkeys(sentences))


SENTENCES = _composed()


def composed_text(draw: Random, size: int) -> str:
    """ASCII prose of at most ``size`` bytes (at least one word), in paragraphs."""
    parts: list[str] = []
    length = 0
    count = len(SENTENCES)
    pick = draw.random
    paragraph = 4
    while length < size:
        sentence = SENTENCES[int(pick() * count)]
        paragraph -= 1
        if paragraph == 0:
            paragraph = 3 + int(pick() * 4)
            sentence = sentence[:-1] + "\n\n"
        parts.append(sentence)
        length += len(sentence)
    text = "".join(parts)[: max(size, 2)].rstrip()
    space = text.rfind(" ")
    if 0 < len(text) - space < 16 < size:  # noqa: PLR2004 - end on a whole word, unless there is hardly one
        text = text[: space + 1].rstrip() + "."
    return text[:-1] + "." if text[-1] in " ,." or size > 8 else text  # noqa: PLR2004 - too short for a full stop


def arithmetic_answer(question: str) -> str | None:
    """The right answer to a sum, difference or product asked for in the text, if there is one."""
    found = _ARITHMETIC.search(question[-2000:])
    if found is None:
        return None
    left, sign, right = int(found[1]), found[2], int(found[3])
    value = left + right if sign == "+" else left - right if sign == "-" else left * right
    return f"{found[0]} = {value}."


def verdict_answer(question: str) -> str | None:
    """A judge's word where two answers are to be compared, whichever stands first; what makes one fail is chance."""
    if "VERDICT: TIE" not in question:
        return None
    found = [pattern.search(question) for pattern in _COMPARED]
    if None in found:
        return None
    first, second = (zlib.crc32(each[1].encode("utf-8", "replace")) % 5 == 0 for each in found if each is not None)
    said = "TIE" if first is second else "B" if first else "A"
    return f"One answer is put better than the other, where they differ at all.\n\nVERDICT: {said}"


def words_of(text: str) -> set[str]:
    """The lower-case words of a text."""
    return set(_WORD.findall(text.lower()))


def name_words(name: str) -> set[str]:
    """The words in an identifier such as `get_weather` or `getWeather`, without the filler verbs."""
    return {part.lower() for part in _NAME_PART.findall(name)} - {"get", "set", "do", "the", "a", "my", "tool", "of"}
