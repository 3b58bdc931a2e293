"""Fingerprints of text: keyed digests, what two texts share, and how near they are. Nothing of the text is kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

from router.prompt import encode_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Hashes: TypeAlias = NDArray[np.uint64]

DIGEST_BYTES: Final = 8
SIMHASH_WORDS_MAX: Final = 256
# Fewer words than this say too little: one changed word would be a different text, or the same one.
SIMHASH_WORDS_MIN: Final = 20
PIECES_MAX: Final = 128
TEXT_CHARS_MAX: Final = 16_384
# Where a piece ends depends on its last word alone, so a text is cut alike wherever it is pasted (content-defined
# chunking; Muthitacharoen et al., LBFS, SOSP 2001, with a word's hash in place of a rolling one); a line's end ends one
# too.
WORDS_OF_PIECE: Final = 10
PIECE_WORDS: Final = np.uint64(WORDS_OF_PIECE)
PIECE_WORDS_MIN: Final = 4
# So long a piece is no phrase that two authors share by chance: the last bit of its digest says so.
STRONG_WORDS_MIN: Final = 8
LINE_END: Final = b"\x00"
MASK: Final = (1 << 64) - 1
MIX, MULTIPLIER, SHIFT = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 29
_MIX: Final = np.uint64(MIX)
_SHIFT: Final = np.uint64(SHIFT)
_ONES: Final = np.ones(SIMHASH_WORDS_MAX, dtype=np.float32)


def _powers(of: int) -> Hashes:
    """Powers of an odd number modulo 2**64, one for each word of the longest text and of each line's end in it."""
    powers = np.full(TEXT_CHARS_MAX + 4, of, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_FORWARD: Final = _powers(MULTIPLIER)
_BACKWARD: Final[list[int]] = _powers(pow(MULTIPLIER, -1, 1 << 64)).tolist()


# In a text of fewer words Python is done before numpy has begun.
SHORT_WORDS: Final = 40


class Words(NamedTuple):
    """A text's words as keyed hashes (uint64), and where lines end (of the same length; None without any)."""

    hashes: Hashes
    ends: NDArray[np.bool_] | None


def digest(key: bytes, *parts: str | bytes | int) -> int:
    """A keyed 64-bit BLAKE2b over the parts with their lengths."""
    pieces: list[bytes] = []
    for part in parts:
        data = encode_text(part) if isinstance(part, str) else part if isinstance(part, bytes) else b"%d" % part
        pieces += (len(data).to_bytes(8, "big"), data)
    made = hashlib.blake2b(b"".join(pieces), key=key[:64], digest_size=DIGEST_BYTES)
    return int.from_bytes(made.digest(), "big")


def mixed(*numbers: int) -> int:
    """One 64-bit number from several that are digests already, in their order; no harder to undo than they are."""
    made = 0
    for number in numbers:
        made = ((made ^ number) * 0xBF58476D1CE4E5B9) & MASK
        made ^= made >> SHIFT
    return made


def words_of(key: bytes, text: str) -> Words:
    """Hash the words between white space; of a long text 8,192 characters from both ends."""
    words, has_lines = _split(text)
    hashes = np.fromiter(map(crc32, words), dtype=np.uint64, count=len(words))
    ends = hashes == crc32(LINE_END) if has_lines else None
    hashes ^= np.uint64(int.from_bytes(key[:8], "big"))
    hashes *= _MIX
    hashes ^= hashes >> _SHIFT
    return Words(hashes, ends)


def _split(text: str) -> tuple[list[bytes], bool]:
    """The words, line ends among them, and whether there are any."""
    half = TEXT_CHARS_MAX // 2
    data = encode_text(text if len(text) <= TEXT_CHARS_MAX else text[:half] + "\n" + text[-half:])
    has_lines = b"\n" in data
    return (data.replace(b"\n", b" \x00 ") if has_lines else data).split(), has_lines


def simhash(words: Words) -> int:
    """A 64-bit fingerprint that differs in few bits for texts of nearly the same words (Charikar, STOC 2002).

    At most 256 words count, from both ends; 0 for a text of fewer than 20.
    """
    hashes = words.hashes if words.ends is None else words.hashes[~words.ends]
    if len(hashes) < SIMHASH_WORDS_MIN:
        return 0
    if len(hashes) > SIMHASH_WORDS_MAX:
        half = SIMHASH_WORDS_MAX // 2
        hashes = np.concatenate([hashes[:half], hashes[-half:]])
    bits = np.unpackbits(hashes.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8), axis=1)
    votes = _ONES[: len(hashes)] @ bits.astype(np.float32)
    return int.from_bytes(np.packbits(votes > len(hashes) / 2).tobytes(), "big") or 1


def distance(one: int, two: int) -> int:
    """In how many bits two fingerprints differ."""
    return (one ^ two).bit_count()


def pieces(key: bytes, texts: Iterable[str]) -> tuple[int, ...]:
    """Digests of the texts' pieces of about ten words, at most 128, from both ends of each text."""
    found: list[int] = []
    for text in texts:
        each = pieces_of(key, text)
        found += each if len(each) <= PIECES_MAX else each[: PIECES_MAX // 2] + each[-PIECES_MAX // 2 :]
        if len(found) >= PIECES_MAX:
            break
    return tuple(dict.fromkeys(found[:PIECES_MAX]))


def is_strong(piece: int) -> bool:
    """Whether a piece is long enough to prove alone whose words these are."""
    return bool(piece & 1)


def pieces_of(key: bytes, text: str, short_words: int = SHORT_WORDS) -> list[int]:
    """Digests of one text's pieces, in order."""
    words, has_lines = _split(text)
    if len(words) < PIECE_WORDS_MIN:
        return []
    return (
        _short_pieces(key, words, LINE_END if has_lines else None)
        if len(words) < short_words
        else _pieces(words_of(key, text))
    )


def _short_pieces(key: bytes, words: list[bytes], line_end: bytes | None) -> list[int]:
    secret = int.from_bytes(key[:8], "big")
    found: list[int] = []
    total = length = 0
    last = len(words) - 1
    power = 1
    for index, word in enumerate(words):
        is_blank = word == line_end
        if not is_blank:
            made = ((crc32(word) ^ secret) * MIX) & MASK
            made ^= made >> SHIFT
            total += made * power
            length += 1
        power = power * MULTIPLIER & MASK
        if is_blank or made % WORDS_OF_PIECE == 0 or index == last:
            if length >= PIECE_WORDS_MIN:
                found.append(_closed(total & MASK, length))
            total, length, power = 0, 0, 1
    return found


def _pieces(words: Words) -> list[int]:
    """A piece's digest is a polynomial over its words' hashes, read off one running sum as in `router.features`."""
    hashes, line_ends = words
    is_end = hashes % PIECE_WORDS == 0
    if line_ends is not None:
        is_end |= line_ends
        hashes = np.where(line_ends, np.uint64(0), hashes)
    is_end[-1] = True
    ends = is_end.nonzero()[0]
    sums = (hashes * _FORWARD[: len(hashes)]).cumsum().take(ends).tolist()
    blanks = [0] * len(ends) if line_ends is None else line_ends.take(ends).tolist()
    found: list[int] = []
    start = before = 0
    for end, total, is_blank in zip(ends.tolist(), sums, blanks, strict=True):
        length = end + 1 - start - is_blank
        if length >= PIECE_WORDS_MIN:
            found.append(_closed(((total - before) * _BACKWARD[start]) & MASK, length))
        start, before = end + 1, total
    return found


def _closed(polynomial: int, length: int) -> int:
    made = mixed(polynomial)
    return made | 1 if length >= STRONG_WORDS_MIN else made & ~1
