"""Bytes into hashed words: vectorised, bounded, and equal on every machine and in every process.

Reading rule: a text of at most `READ_BYTES_MAX` bytes is read whole. Of a longer one are read its first and last
`EDGE_BYTES` and `SAMPLES` slices of `SAMPLE_BYTES` at even distances between them, joined by newlines. So time is
bounded for any length, and a question after or before a long document is seen in full.

A word is a run of letters and digits (every byte from 0x80 up counts as a letter, so all scripts have words); letters
are folded to lower case and each digit to 0, which makes a number its shape. Its hash is a polynomial over its bytes
modulo 2**32, read off one running sum by the multiplier's modular inverse, then mixed and cut to `BUCKETS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes: TypeAlias = NDArray[np.uint32]

EDGE_BYTES: Final = 3072
SAMPLE_BYTES: Final = 256
SAMPLES: Final = 8
READ_BYTES_MAX: Final = 2 * EDGE_BYTES + SAMPLES * SAMPLE_BYTES + SAMPLES + 1
BUCKET_BITS: Final = 18
BUCKETS: Final = 1 << BUCKET_BITS

_MULTIPLIER: Final = 0x9E3779B1
_INVERSE: Final = pow(_MULTIPLIER, -1, 1 << 32)
_WORD_MIX: Final = np.uint32(0x85EBCA6B)
_PAIR_MIX: Final = np.uint32(0xC2B2AE35)
_FOLD_SHIFT: Final = np.uint32(15)
_BUCKET_SHIFT: Final = np.uint32(32 - BUCKET_BITS)


def _powers(of: int) -> Hashes:
    """Powers of an odd number modulo 2**32, one for each byte of the longest window between its two separators."""
    powers = np.full(READ_BYTES_MAX + 2, of, dtype=np.uint32)
    powers[0] = 1
    return np.multiply.accumulate(powers, dtype=np.uint32)


def _folded() -> bytes:
    """What each byte counts as inside a word; 0 for a byte that belongs to no word."""
    table = bytearray(256)
    for byte in range(256):
        char = chr(byte)
        if byte >= 0x80 or "a" <= char <= "z":  # noqa: PLR2004 - the first byte beyond ASCII
            table[byte] = byte
        elif "A" <= char <= "Z":
            table[byte] = byte + 32
        elif "0" <= char <= "9":
            table[byte] = ord("0")
    return bytes(table)


_FORWARD: Final = _powers(_MULTIPLIER)
_BACKWARD: Final = _powers(_INVERSE)
_FOLDED: Final = _folded()


def window_of(text: bytes) -> bytes:
    """The bytes of a text that are read, by the module's rule; at most `READ_BYTES_MAX`."""
    if len(text) <= READ_BYTES_MAX:
        return text
    step = (len(text) - 2 * EDGE_BYTES - SAMPLE_BYTES) // SAMPLES
    starts = [EDGE_BYTES + step // 2 + step * index for index in range(SAMPLES)]
    slices = [text[start : start + SAMPLE_BYTES] for start in starts]
    return b"\n".join([text[:EDGE_BYTES], *slices, text[-EDGE_BYTES:]])


def words_of(padded: bytes) -> tuple[Hashes, NDArray[np.intp]]:
    """Hash and length in bytes of each word, in order.

    ``padded``: a window of at most `READ_BYTES_MAX` bytes between two bytes that belong to no word.
    """
    codes = np.frombuffer(padded.translate(_FOLDED), dtype=np.uint8)
    inside = codes != 0
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    before, last = edges[0::2], edges[1::2]
    running = (codes * _FORWARD[: len(codes)]).cumsum(dtype=np.uint32).take(edges)
    raw = running[1::2] - running[0::2]
    raw *= _BACKWARD.take(before)
    raw ^= raw >> _FOLD_SHIFT
    raw *= _WORD_MIX
    return raw, last - before


def buckets_of(words: Hashes) -> NDArray[np.uint32]:
    """Buckets of every word and of every pair of neighbours, one entry an occurrence."""
    n_words = len(words)
    found = np.empty(max(0, 2 * n_words - 1), dtype=np.uint32)
    found[:n_words] = words
    if n_words > 1:
        pairs = words[:-1] * _PAIR_MIX
        pairs += words[1:]
        np.multiply(pairs ^ (pairs >> _FOLD_SHIFT), _WORD_MIX, out=found[n_words:])
    found >>= _BUCKET_SHIFT
    return found
