"""Marks of an answer: a dozen numbers of its text beside its request, from which labels may teach what looks bad.

Each is made by a fixed rule, scaled by a constant and clipped to -3..3, so that nobody who writes prompts or answers
can stretch a scale; 0 stands for nothing notable. No mark says that an answer is bad: `router.verifier` learns from
labels which of them tell, and no more than they tell. A text is read at its head and its tail, so time is bounded, and
nothing of it is kept. What a mark means never changes: another meaning is a mark of another name.
"""

from __future__ import annotations

import re
import zlib
from math import isfinite, log
from typing import TYPE_CHECKING, Final

from router.chat import Text, ToolCall
from router.prompt import CODE_SAMPLE_BYTES, code_share_of, encode_text, question_index_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.chat import Part, Reply, Request

MARK_NAMES: Final = (
    "length",  # longer (+) or shorter (-) than the model was expected to write, by the logarithm
    "very_short",  # fewer than 60 characters
    "hedging",  # words that take back what they say, by length
    "mid_sentence",  # ends inside a sentence or a block of code
    "asks_back",  # ends in a question
    "repetition",  # compresses far better than prose does
    "echo",  # holds more (+) or fewer (-) of the question's longer words than is usual
    "digits",  # share of digits
    "code_missing",  # code was asked for and there is none
    "other_script",  # written in a script that the question has not
    "unsure",  # the vendor's own mean log-probability of its tokens, where it was asked for and given
    "cut_off",  # ended at an output limit, whoever set it
)
MARK_MAX: Final = 3.0
ROUNDED: Final = 3

ANSWER_EDGE_CHARS: Final = 4_096
QUESTION_EDGE_CHARS: Final = 2_048
SCRIPT_CHARS: Final = 2_048
BYTES_A_TOKEN: Final = 4

LENGTH_SCALE: Final = 0.6
LENGTH_FLOOR_TOKENS: Final = 8
SHORT_CHARS: Final = 60
PRESENT: Final = 2.0
"""What a sign that is there or not counts where it is there."""

CURLY: Final = "\u2019"
HEDGES_FULL: Final = 50.0
HEDGES_FLOOR_WORDS: Final = 20
CHARS_A_WORD: Final = 6
# Counted one by one: for so many phrases that is a tenth of the time of one regular expression. A word ends where it
# ends, so that `unclear` counts and `uncleared` does too; it begins behind a blank.
HEDGES: Final = (
    *(" not sure", " not certain", " not entirely", " not quite", " don't know", " do not know", " hard to say"),
    *(" hard to tell", " i guess", " i suppose", " i believe", " i think", " might be", " might possibly", " could be"),
    *(" may be", " perhaps", " possibly", " presumably", " it depends", " unclear", " as an ai ", " without more "),
    *(" vielleicht", " möglicherweise", " vermutlich", " nicht sicher", " nicht genau", " peut-être", " pas sûr"),
    *(
        " quizá",
        " tal vez",
        " no estoy segur",
        " forse ",
        " non sono sicur",
        " talvez",
        " não tenho certeza",
        " misschien",
    ),
    *("可能", "也许", "不确定", "かもしれ", "わかりません"),
)

SENTENCE_CHARS_MIN: Final = 40
SENTENCE_WORDS_MIN: Final = 4
CLOSERS: Final = " \t\r\n*_\"'\u00bb\u201d\u2019"
# Ellipsis, and the stops of Chinese, Hindi and Arabic; dashes of every length.
STOPS: Final = ".!?\u2026\u3002\uff01\uff1f\u0964\u061f"
ASKS: Final = ("?", "\uff1f", "\u061f")
OPEN_ENDS: Final = ":,;\u2013\u2014-"
STRUCTURED: Final = re.compile(r"\s*(?:[-*+•|#>]|\d+[.)])")
FENCE: Final = "```"

REPETITION_BYTES_MIN: Final = 400
PROSE_RATIO: Final = 0.4
RATIO_SCALE: Final = 8.0

WORD: Final = re.compile(r"[^\W\d_]{4,}")
QUESTION_WORDS_MIN: Final = 3
ECHO_USUAL: Final = 0.4
ECHO_SCALE: Final = 4.0
DIGITS_SCALE: Final = 4.0
DIGITS: Final = "0123456789"

# English alone: other languages leave the mark at 0, unless the question holds code itself.
CODE_ASKED: Final = re.compile(
    r"\b(?:write|implement|create|fix|debug|refactor|complete|generate|give me|show me)\b[^.?!\n]{0,60}"
    r"\b(?:code|function|script|program|query|regex|regular expression|snippet|unit tests?|sql|python|javascript"
    r"|typescript|java|rust|bash|html|css)\b",
    re.IGNORECASE,
)
INDENTED: Final = re.compile(r"^(?: {4}|\t)\S", re.MULTILINE)
CODE_LIKE: Final = 0.5

FENCED: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
LETTERS_MIN: Final = 20
QUESTION_LETTERS_MIN: Final = 4
QUESTION_SHARE_MIN: Final = 0.05
SCRIPTS: Final = tuple(
    re.compile(f"[{ranges}]+")
    for ranges in (
        "A-Za-z\u00c0-\u024f",
        "\u0370-\u03ff",
        "\u0400-\u052f",
        "\u0590-\u05ff",
        "\u0600-\u06ff\u0750-\u077f",
        "\u0900-\u0dff",
        "\u0e00-\u0e7f",
        "\u1100-\u11ff\uac00-\ud7af",
        "\u3040-\u30ff\u3400-\u9fff",
    )
)
"""Latin, Greek, Cyrillic, Hebrew, Arabic, Indic, Thai, Korean, Chinese with Japanese."""


def marks_of(reply: Reply, request: Request, expected_tokens: int) -> tuple[float, ...]:
    """The marks in the order of ``MARK_NAMES``, each within -3..3 and rounded to three digits.

    ``expected_tokens`` is how many output tokens the model was expected to write. An answer by tool call has no prose:
    all its marks are 0 but ``unsure`` and ``cut_off``.
    """
    found = dict.fromkeys(MARK_NAMES, 0.0)
    found["unsure"] = _unsure(reply.mean_logprob)
    found["cut_off"] = PRESENT if reply.finish_reason == "length" else 0.0
    if not any(isinstance(part, ToolCall) for part in reply.parts):
        text, chars = _edges(reply.parts, ANSWER_EDGE_CHARS)
        found |= _of_text(text, chars, _question_of(request), expected_tokens)
    return tuple(round(min(max(found[name], -MARK_MAX), MARK_MAX), ROUNDED) for name in MARK_NAMES)


def _of_text(text: str, chars: int, question: str, expected_tokens: int) -> dict[str, float]:
    data = encode_text(text)
    return {
        "length": _length(len(data) * chars / max(len(text), 1), expected_tokens),
        "very_short": PRESENT * max(0.0, 1 - chars / SHORT_CHARS),
        "hedging": _hedging(text),
        "mid_sentence": PRESENT
        if chars >= SENTENCE_CHARS_MIN and _ends_inside(text, is_whole=chars == len(text))
        else 0.0,
        "asks_back": PRESENT if text.rstrip(CLOSERS + ")").endswith(ASKS) else 0.0,
        "repetition": _repetition(data),
        "echo": _echo(text, question),
        "digits": DIGITS_SCALE * sum(map(text.count, DIGITS)) / max(len("".join(text.split())), 1),
        "code_missing": PRESENT if _asks_for_code(question) and not _holds_code(text, data) else 0.0,
        "other_script": MARK_MAX * _foreign_share(text, question),
    }


def _edges(parts: Iterable[Part], most: int) -> tuple[str, int]:
    """Head and tail of the parts' text, at most ``most`` characters of each, and how many there are in all."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    chars = sum(map(len, texts))
    if chars <= 2 * most:
        return "".join(texts), chars
    head, tail = "", ""
    for text in texts:
        head += text[: most - len(head)]
    for text in reversed(texts):
        room = most - len(tail)
        tail = (text[-room:] if room else "") + tail
    return f"{head}\n{tail}", chars


def _question_of(request: Request) -> str:
    """Head and tail of the newest turn that a user wrote."""
    index = question_index_of(request.messages)
    return "" if index is None else _edges(request.messages[index].parts, QUESTION_EDGE_CHARS)[0]


def _length(text_bytes: float, expected_tokens: int) -> float:
    written = text_bytes / BYTES_A_TOKEN + LENGTH_FLOOR_TOKENS
    return LENGTH_SCALE * log(written / (max(expected_tokens, 0) + LENGTH_FLOOR_TOKENS))


def _hedging(text: str) -> float:
    split = text.lower().replace(CURLY, "'").split()
    plain = f" {' '.join(split)} "
    # Scripts without blanks have no words to count: six characters stand for one.
    words = max(len(split), len(text) // CHARS_A_WORD)
    return HEDGES_FULL * sum(map(plain.count, HEDGES)) / (words + HEDGES_FLOOR_WORDS)


def _ends_inside(text: str, *, is_whole: bool) -> bool:
    """Whether it stops before its end: inside code, at a colon or a comma, or in prose without a stop."""
    if is_whole and text.count(FENCE) % 2:
        return True
    bare = text.rstrip()
    if bare.endswith(FENCE):
        return False
    ending = bare.rstrip(CLOSERS)
    if not ending or ending[-1] in STOPS:
        return False
    if ending[-1] in OPEN_ENDS:
        return True
    last = ending[ending.rfind("\n") + 1 :]
    is_prose = STRUCTURED.match(last) is None and len(last.split()) >= SENTENCE_WORDS_MIN
    return is_prose and ending[-1].isalnum()


def _repetition(data: bytes) -> float:
    if len(data) < REPETITION_BYTES_MIN:
        return 0.0
    return max(0.0, RATIO_SCALE * (PROSE_RATIO - len(zlib.compress(data, 6)) / len(data)))


def _echo(text: str, question: str) -> float:
    asked = set(WORD.findall(question.lower()))
    if len(asked) < QUESTION_WORDS_MIN:
        return 0.0
    share = len(asked & set(WORD.findall(text.lower()))) / len(asked)
    return ECHO_SCALE * (share - ECHO_USUAL)


def _asks_for_code(question: str) -> bool:
    return FENCE in question or CODE_ASKED.search(question) is not None


def _holds_code(text: str, data: bytes) -> bool:
    if FENCE in text or INDENTED.search(text) is not None:
        return True
    return code_share_of(data[:CODE_SAMPLE_BYTES]) >= CODE_LIKE


def _foreign_share(text: str, question: str) -> float:
    """The share of the answer's letters, code aside, in scripts that hardly stand in the question."""
    if text.isascii() and question.isascii():
        return 0.0
    mine = _letters_of(FENCED.sub("", text)[:SCRIPT_CHARS])
    asked = _letters_of(question[:SCRIPT_CHARS])
    if sum(mine) < LETTERS_MIN or sum(asked) < QUESTION_LETTERS_MIN:
        return 0.0
    least = QUESTION_SHARE_MIN * sum(asked)
    return sum(count for count, known in zip(mine, asked, strict=True) if known < least) / sum(mine)


def _letters_of(text: str) -> list[int]:
    """How many letters of each script."""
    return [sum(map(len, script.findall(text))) for script in SCRIPTS]


def _unsure(mean_logprob: float | None) -> float:
    # What a vendor calls a logarithm may be any number.
    return -MARK_MAX * mean_logprob if mean_logprob is not None and isfinite(mean_logprob) else 0.0
