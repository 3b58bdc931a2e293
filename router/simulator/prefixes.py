"""The vendors' prompt caches: which prefixes of prompts are held, and for how long."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

IMPLICIT_CHUNK_BYTES = 2048
IMPLICIT_TTL_S = 300
ENTRIES_MAX = 200_000


class PrefixCache:
    """Prefix hashes with an expiry that a read renews; the oldest entries make room for new ones."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take a monotonic clock in seconds."""
        self._clock = clock
        self._held: dict[bytes, tuple[float, float]] = {}

    def touch(self, key: bytes) -> bool:
        """Whether the prefix is held; if so its lifetime starts anew."""
        entry = self._held.get(key)
        if entry is None:
            return False
        expires_s, ttl_s = entry
        now_s = self._clock()
        if now_s >= expires_s:
            del self._held[key]
            return False
        self._held[key] = (now_s + ttl_s, ttl_s)
        return True

    def put(self, key: bytes, ttl_s: float) -> None:
        """Hold a prefix."""
        self._held.pop(key, None)
        self._held[key] = (self._clock() + ttl_s, ttl_s)
        while len(self._held) > ENTRIES_MAX:
            del self._held[next(iter(self._held))]


def implicit_read(cache: PrefixCache, scope: bytes, prompt: bytes, prompt_tokens: int) -> int:
    """How many prompt tokens an automatic prefix cache serves; the whole prompt is held afterwards.

    Prefixes count in whole chunks; ``scope`` separates models and customers.
    """
    running = hashlib.blake2b(scope, digest_size=16)
    chunks = len(prompt) // IMPLICIT_CHUNK_BYTES
    hits = 0
    is_leading = True
    for index in range(chunks):
        running.update(prompt[index * IMPLICIT_CHUNK_BYTES : (index + 1) * IMPLICIT_CHUNK_BYTES])
        key = running.digest()
        if is_leading and cache.touch(key):
            hits += 1
        else:
            is_leading = False
            cache.put(key, IMPLICIT_TTL_S)
    return min(prompt_tokens - 1, hits * IMPLICIT_CHUNK_BYTES * prompt_tokens // max(1, len(prompt)))
