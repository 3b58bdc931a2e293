"""Fingerprints of text: keyed digests, what two texts share, and how near they are. Nothing of the text is kept."""

from __future__ import annotations

import hashlib
import sys
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias
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
PIECE_WORDS_MIN: Final = 4
# So long a piece is no phrase that two authors share by chance: the last bit of its digest says so.
STRONG_WORDS_MIN: Final = 8
# Chinese and Japanese, and Thai, Lao, Burmese and Khmer, are written without spaces: there a character ends a word
# where so many of the last bits of its UTF-8 are 0, every other one or every fourth, so that a text is cut alike
# wherever it is pasted. By the first of its three bytes; 0xFF: it ends none.
UNSPACED: Final = b"\xe0\xe1\xe3\xe4\xe5\xe6\xe7\xe8\xe9"
ENDS_BY_LEAD: Final = np.full(256, 0xFF, dtype=np.uint8)
ENDS_BY_LEAD[list(UNSPACED[:2])] = 0b11
ENDS_BY_LEAD[list(UNSPACED[2:])] = 0b1
MASK: Final = (1 << 64) - 1
# Where a word's 32-bit code has its lowest byte among its four.
LOWEST: Final = slice(0 if sys.byteorder == "little" else 3, None, 4)
SHIFT: Final = 29
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(SHIFT)
_ONES: Final = np.ones(SIMHASH_WORDS_MAX, dtype=np.float32)


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


def words_of(key: bytes, text: str) -> Hashes:
    """Keyed hashes of the words between white space; of a long text 8,192 characters from both ends."""
    words = _read(text).split()
    hashes = np.fromiter(map(crc32, words), dtype=np.uint64, count=len(words))
    hashes ^= np.uint64(int.from_bytes(key[:8], "big"))
    hashes *= _MIX
    hashes ^= hashes >> _SHIFT
    return hashes


def _read(text: str) -> bytes:
    half = TEXT_CHARS_MAX // 2
    text = text if len(text) <= TEXT_CHARS_MAX else text[:half] + "\n" + text[-half:]
    raw = encode_text(text)
    return raw if text.isascii() or len(raw.translate(None, UNSPACED)) == len(raw) else _spaced(raw)


def _spaced(raw: bytes) -> bytes:
    """The text with spaces where words end of scripts that write none."""
    codes = np.frombuffer(raw, dtype=np.uint8)
    ends = np.flatnonzero((codes[2:] & ENDS_BY_LEAD[codes[:-2]]) == 0)
    return np.insert(codes, ends + 3, 0x20).tobytes()


def simhash(hashes: Hashes) -> int:
    """A 64-bit fingerprint that differs in few bits for texts of nearly the same words (Charikar, STOC 2002).

    At most 256 words count, from both ends; 0 for a text of fewer than 20.
    """
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
        each = _pieces_of(key, text)
        found += each if len(each) <= PIECES_MAX else each[: PIECES_MAX // 2] + each[-PIECES_MAX // 2 :]
        if len(found) >= PIECES_MAX:
            break
    return tuple(dict.fromkeys(found[:PIECES_MAX]))


def is_strong(piece: int) -> bool:
    """Whether a piece is long enough to prove alone whose words these are."""
    return bool(piece & 1)


def _pieces_of(key: bytes, text: str) -> list[int]:
    """Digests of one text's pieces, in order.

    A digest is Python's own hash of a tuple of numbers, the secret first: several times cheaper than any other, the
    same in every process, and where gateways' Pythons should ever differ in it they only do not know each other's.
    """
    secret = int.from_bytes(key[:8], "big")
    ends = _ends_of(secret & 0xFF)
    found: list[int] = []
    for line in _read(text).split(b"\n"):
        codes = list(map(crc32, line.split()))
        if len(codes) < PIECE_WORDS_MIN:
            continue
        marks = array("I", codes).tobytes()[LOWEST].translate(ends)
        start = 0
        while start < len(codes):
            end = marks.find(b"\1", start) + 1 or len(codes)
            length = end - start
            if length >= PIECE_WORDS_MIN:
                made = hash((secret, *codes[start:end])) & MASK
                found.append(made | 1 if length >= STRONG_WORDS_MIN else made & ~1)
            start = end
    return found


@lru_cache(maxsize=256)
def _ends_of(salt: int) -> bytes:
    """For the lowest byte of each word's code, 1 where the word ends a piece."""
    return bytes((code ^ salt) % WORDS_OF_PIECE == 0 for code in range(256))
