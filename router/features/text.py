"""Bytes into hashed words: vectorised, bounded, and equal on every machine and in every process.

Reading rule: a text of at most `READ_BYTES_MAX` bytes is read whole. Of a longer one are read its first and last
`EDGE_BYTES` and `SAMPLES` slices of `SAMPLE_BYTES` at even distances between them, joined by newlines. So time is
bounded for any length, and a question after or before a long document is seen in full.

A word is a run of letters and digits (every byte from 0x80 up counts as a letter, so all scripts have words); letters
are folded to lower case and each digit to 0, which makes a number its shape. Its hash is a polynomial over its bytes
modulo 2**64, read off one running sum by the multiplier's modular inverse, then mixed and cut to `BUCKETS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes: TypeAlias = NDArray[np.uint8]
    Hashes: TypeAlias = NDArray[np.uint64]

EDGE_BYTES: Final = 3072
SAMPLE_BYTES: Final = 256
SAMPLES: Final = 8
READ_BYTES_MAX: Final = 2 * EDGE_BYTES + SAMPLES * SAMPLE_BYTES + SAMPLES + 1
BUCKET_BITS: Final = 18
BUCKETS: Final = 1 << BUCKET_BITS

_MULTIPLIER: Final = 0x9E3779B97F4A7C15
_INVERSE: Final = pow(_MULTIPLIER, -1, 1 << 64)
_WORD_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_PAIR_MIX: Final = np.uint64(0x94D049BB133111EB)
_FOLD_SHIFT: Final = np.uint64(32)
_BUCKET_SHIFT: Final = np.uint64(64 - BUCKET_BITS)


def _powers(of: int) -> Hashes:
    """Powers 0..READ_BYTES_MAX of an odd number modulo 2**64."""
    powers = np.full(READ_BYTES_MAX + 1, of, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _folded() -> NDArray[np.uint64]:
    """What each byte counts as inside a word; 0 for a byte that belongs to no word."""
    table = np.zeros(256, dtype=np.uint64)
    for byte in range(256):
        char = chr(byte)
        if byte >= 0x80 or "a" <= char <= "z":  # noqa: PLR2004 - the first byte beyond ASCII
            table[byte] = byte
        elif "A" <= char <= "Z":
            table[byte] = byte + 32
        elif "0" <= char <= "9":
            table[byte] = ord("0")
    return table


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


def words_of(read: Bytes) -> tuple[Hashes, NDArray[np.intp]]:
    """Hash and length in bytes of each word of a window, in order; at most `READ_BYTES_MAX` bytes."""
    codes = _FOLDED[read]
    inside = np.zeros(len(read) + 2, dtype=np.int8)
    np.not_equal(codes, 0, out=inside[1:-1].view(np.bool_))
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[0::2], edges[1::2]
    running = np.zeros(len(read) + 1, dtype=np.uint64)
    np.cumsum(codes * _FORWARD[: len(read)], out=running[1:])
    raw = (running[ends] - running[starts]) * _BACKWARD[starts]
    mixed = (raw ^ (raw >> _FOLD_SHIFT)) * _WORD_MIX
    return mixed, ends - starts


def buckets_of(words: Hashes) -> NDArray[np.uint32]:
    """Buckets of every word and of every pair of neighbours, one entry an occurrence."""
    pairs = (words[:-1] * _PAIR_MIX + words[1:]) * _WORD_MIX
    return (np.concatenate((words, pairs)) >> _BUCKET_SHIFT).astype(np.uint32)
