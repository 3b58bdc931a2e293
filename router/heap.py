"""How a serving process keeps its memory: what it lets go goes back, and what lives as long as it does is set aside."""

from __future__ import annotations

import contextlib
import ctypes
import gc

GC_ALLOCATIONS = 50_000
# mallopt(3).
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
# A table of the guards is built anew, without its holes, from time to time: half a megabyte and more.
LARGE_BYTES = 262_144


def give_back() -> None:
    """Let the C library return what is let go; to be called before there are threads. Without glibc, nothing.

    Large blocks come from the system one by one and go back to it: left to itself glibc takes them from its heap as
    soon as one was let go, where smaller ones then lie between them, and a heap with holes only grows. And all threads
    share one heap: each of its own would hold a few megabytes for what its thread needs now and then, while Python
    lets one of them run at a time anyway.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_ARENA_MAX, 1)


def set_aside() -> None:
    """What exists now lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    # What a request leaves behind has no cycles but where it failed: looking for them seldom is enough.
    gc.set_threshold(GC_ALLOCATIONS, 10, 10)
