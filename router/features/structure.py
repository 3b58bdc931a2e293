"""Structural features of a prompt, and the one function that makes all of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING, Final

import numpy as np

from router.features.lexicon import LEXICON_NAMES, lexicon_counts
from router.features.text import buckets_of, window_of, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.features.view import PromptView

FOLLOW_UP_BYTES_MAX: Final = 64
HISTORY_HEAD_BYTES: Final = 2048
HISTORY_TAIL_BYTES: Final = 2048
LONG_WORD_BYTES: Final = 9
SHORT_WORD_BYTES: Final = 3
TAIL_BYTES: Final = 48

_CLASSES: Final[dict[str, bytes]] = {
    "letters": b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "capitals": b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digits": b"0123456789",
    "spaces": b" \t",
    "newlines": b"\n",
    "sentence_ends": b".!",
    "questions": b"?",
    "commas": b",;:",
    "operators": b"+-*/=<>%",
    "brackets": b"()[]{}",
    "tex": b"\\^_$",
    "code_marks": b"`#@&|~{};",
    "quotes": b"\"'",
    "bars": b"|",
    "not_ascii": bytes(range(0x80, 0x100)),
    "control": bytes(sorted({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})),
}
_CLASS_MATRIX: Final = np.zeros((256, len(_CLASSES)), dtype=np.float32)
for _column, _members in enumerate(_CLASSES.values()):
    _CLASS_MATRIX[list(_members), _column] = 1.0

# An answer to choose, such as "(B)" or a line that starts with "C.": what may open it, its letter, what closes it.
_CHOICE: Final = b"\1\2\3"
_CHOICE_MARKS: Final = b"".join(
    bytes([next((mark for mark, members in enumerate((b"\n( -", b"ABCDEFGHIJ", b".):"), 1) if byte in members), 0)])
    for byte in range(256)
)

_TEXT_NAMES: Final = (
    "log_bytes",
    "log_words",
    "log_lines",
    "log_sentences",
    *(f"share_{name}" for name in _CLASSES),
    "word_bytes_mean",
    "share_long_words",
    "share_short_words",
    "share_distinct_words",
    "log_numbers",
    "log_choices",
    "line_bytes_log",
    "question_at_end",
    *(f"words_{name}" for name in LEXICON_NAMES),
)
_REQUEST_NAMES: Final = (
    "log_system_bytes",
    "log_history_bytes",
    "log_turns",
    "log_messages",
    "log_tools",
    "log_tool_schema_bytes",
    "log_tool_results",
    "log_images",
    "has_response_schema",
    "is_follow_up",
    "log_input_bytes",
)
FEATURE_NAMES: Final[tuple[str, ...]] = (*_TEXT_NAMES, *_REQUEST_NAMES)
NETWORK_FEATURE_COUNT: Final = len(_TEXT_NAMES)
"""The first so many features feed the network; the rest of them do not vary in the outcomes, so that no weight could
be learned for them: they stand in the receipt and move support."""


_LINES, _ENDS, _QUESTIONS, _LETTERS, _DIGITS, _NOT_ASCII = (
    tuple(_CLASSES).index(name) for name in ("newlines", "sentence_ends", "questions", "letters", "digits", "not_ascii")
)


_IMAGES, _TOOLS, _TOOL_RESULTS = (FEATURE_NAMES.index(name) for name in ("log_images", "log_tools", "log_tool_results"))


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Numbers of one prompt.

    ``structure``: float32 in the order of `FEATURE_NAMES`. ``hashed``: one bucket id (uint32) for each of the
    ``n_words`` words and then each pair of neighbouring words that was read, in order of occurrence.
    """

    structure: NDArray[np.float32]
    hashed: NDArray[np.uint32]
    n_words: int

    @property
    def has_images(self) -> bool:
        """Whether the request holds an image."""
        return bool(self.structure[_IMAGES] > 0)

    @property
    def has_tools(self) -> bool:
        """Whether the request offers tools or holds a tool's result."""
        return bool(self.structure[_TOOLS] > 0 or self.structure[_TOOL_RESULTS] > 0)

    def as_dict(self) -> dict[str, float]:
        """The structural features by name, for the receipt."""
        return dict(zip(FEATURE_NAMES, self.structure.tolist(), strict=True))


def is_follow_up(view: PromptView) -> bool:
    """Whether the newest turn is too short to be scored without the conversation before it."""
    return bool(view.history) and len(view.question.strip()) <= FOLLOW_UP_BYTES_MAX


def scored_text_of(view: PromptView) -> bytes:
    """The text that is scored: the newest user turn, or for a short follow-up the conversation with it."""
    if not is_follow_up(view):
        return view.question
    history = view.history
    if len(history) > HISTORY_HEAD_BYTES + HISTORY_TAIL_BYTES:
        history = history[:HISTORY_HEAD_BYTES] + b"\n" + history[-HISTORY_TAIL_BYTES:]
    return history + b"\n" + view.question


def features_of(view: PromptView) -> Features:
    """Turns a view into features; time is bounded for any length, nothing in the text can make it fail."""
    text = scored_text_of(view)
    # A separator on both sides spares every later step the case of a word at an edge.
    padded = b"\n" + window_of(text) + b"\n"
    words, word_bytes = words_of(padded)
    hashed = buckets_of(words)
    numbers = _text_features(len(text), padded, word_bytes, hashed[: len(words)]) + _request_features(view)
    return Features(structure=np.array(numbers, dtype=np.float32), hashed=hashed, n_words=len(words))


def _text_features(
    total_bytes: int, padded: bytes, word_bytes: NDArray[np.intp], word_buckets: NDArray[np.uint32]
) -> list[float]:
    """The first `NETWORK_FEATURE_COUNT` numbers, in the order of `_TEXT_NAMES`."""
    n_read = max(len(padded) - 2, 1)
    n_words = len(word_buckets)
    divisor = max(n_words, 1)
    read = np.frombuffer(padded, dtype=np.uint8, count=len(padded) - 2, offset=1)
    counts = np.bincount(read, minlength=256).astype(np.float32)
    in_class: list[float] = (counts @ _CLASS_MATRIX).tolist()  # whole numbers below 2**24, which float32 holds
    lines, digits = in_class[_LINES] + 1, in_class[_DIGITS]
    of_bytes: list[int] = np.bincount(word_bytes, minlength=LONG_WORD_BYTES).tolist()
    lexicon = np.empty(len(LEXICON_NAMES), dtype=np.float32)
    np.multiply(lexicon_counts(word_buckets), 100.0 / divisor, out=lexicon, casting="same_kind")
    np.log1p(lexicon, out=lexicon)
    return [
        log1p(total_bytes),
        log1p(n_words),
        log1p(lines),
        log1p(in_class[_ENDS] + in_class[_QUESTIONS]),
        *[count / n_read for count in in_class],
        (in_class[_LETTERS] + digits + in_class[_NOT_ASCII]) / divisor,
        sum(of_bytes[LONG_WORD_BYTES:]) / divisor,
        sum(of_bytes[: SHORT_WORD_BYTES + 1]) / divisor,
        _distinct(word_buckets) / divisor,
        log1p(digits),
        log1p(padded.translate(_CHOICE_MARKS).count(_CHOICE)),
        log1p(n_read / lines),
        float(b"?" in padded[-TAIL_BYTES:]),
        *lexicon.tolist(),
    ]


def _distinct(word_buckets: NDArray[np.uint32]) -> int:
    if len(word_buckets) == 0:
        return 0
    ordered = np.sort(word_buckets)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1


def _request_features(view: PromptView) -> list[float]:
    return [
        log1p(len(view.system)),
        log1p(len(view.history)),
        log1p(view.n_turns),
        log1p(view.n_messages),
        log1p(view.n_tools),
        log1p(view.tool_schema_bytes),
        log1p(view.n_tool_results),
        log1p(view.n_images),
        float(view.has_response_schema),
        float(is_follow_up(view)),
        log1p(max(view.input_bytes, len(view.question))),
    ]
