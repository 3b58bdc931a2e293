"""Fingerprints of text: keyed digests, what two texts share, and how near they are. Nothing of the text is kept."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from router.prompt import encode_text

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST_BYTES = 8
SIMHASH_WORDS_MAX = 256
# Fewer words than this say too little: one changed word would be a different text, or the same one.
SIMHASH_WORDS_MIN = 20
PIECES_MAX = 128
PIECE_CHARS_MAX = 400
PIECE_TEXT_CHARS = 16_384
# Where a piece ends depends on its last word alone, so a text is cut alike wherever it is pasted (content-defined
# chunking; Muthitacharoen et al., LBFS, SOSP 2001, with a word's last letter in place of a rolling hash).
PIECE_END = re.compile(r"(?<=[dgyDGY])(?!\w)[^\w]*\s+|\n+")
PIECE_WORDS_MIN = 4
# So long a piece is no phrase that two authors share by chance: the last bit of its digest says so.
STRONG_WORDS_MIN = 8
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def digest(key: bytes, *parts: str | bytes | int) -> int:
    """A keyed 64-bit BLAKE2b over the parts with their lengths."""
    pieces: list[bytes] = []
    for part in parts:
        data = encode_text(part) if isinstance(part, str) else part if isinstance(part, bytes) else b"%d" % part
        pieces += (len(data).to_bytes(8, "big"), data)
    made = hashlib.blake2b(b"".join(pieces), key=key[:64], digest_size=DIGEST_BYTES)
    return int.from_bytes(made.digest(), "big")


def simhash(text: str) -> int:
    """A 64-bit fingerprint that differs in few bits for texts of nearly the same words (Charikar, STOC 2002).

    At most 256 words count, from both ends; 0 for a text of fewer than 20.
    """
    half = PIECE_TEXT_CHARS // 2
    words = encode_text(text if len(text) <= PIECE_TEXT_CHARS else text[:half] + " " + text[-half:]).split()
    if len(words) < SIMHASH_WORDS_MIN:
        return 0
    if len(words) > SIMHASH_WORDS_MAX:
        words = words[: SIMHASH_WORDS_MAX // 2] + words[-SIMHASH_WORDS_MAX // 2 :]
    mixed = (np.fromiter(map(crc32, words), dtype=np.uint64, count=len(words)) + np.uint64(1)) * MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    votes = np.unpackbits(mixed.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0, dtype=np.int64)
    return int.from_bytes(np.packbits(2 * votes > len(words)).tobytes(), "big") or 1


def distance(one: int, two: int) -> int:
    """In how many bits two fingerprints differ."""
    return (one ^ two).bit_count()


def pieces(key: bytes, texts: Iterable[str]) -> tuple[int, ...]:
    """Digests of the texts' pieces of about ten words, at most 128, from both ends of each text."""
    found: list[int] = []
    half = PIECE_TEXT_CHARS // 2
    for text in texts:
        cut = text if len(text) <= PIECE_TEXT_CHARS else text[:half] + "\n" + text[-half:]
        each = [words for words in map(str.split, PIECE_END.split(cut)) if len(words) >= PIECE_WORDS_MIN]
        kept = each if len(each) <= PIECES_MAX else each[: PIECES_MAX // 2] + each[-PIECES_MAX // 2 :]
        found += (_piece(key, words) for words in kept)
        if len(found) >= PIECES_MAX:
            break
    return tuple(dict.fromkeys(found[:PIECES_MAX]))


def is_strong(piece: int) -> bool:
    """Whether a piece is long enough to prove alone whose words these are."""
    return bool(piece & 1)


def _piece(key: bytes, words: list[str]) -> int:
    made = digest(key, " ".join(words)[:PIECE_CHARS_MAX])
    return made | 1 if len(words) >= STRONG_WORDS_MIN else made & ~1
