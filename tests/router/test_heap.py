"""What a serving process does about its memory; each in a process of its own, whose memory nobody else has touched."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Large blocks between small ones that stay: a heap could not give the large ones back. The first one, let go, is what
# makes glibc take such blocks from its heap.
LARGE = """
import ctypes, sys
from router import heap

def resident_mib():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
if "give_back" in sys.argv:
    heap.give_back()
c.free(c.malloc(24 * 2**20))
large = []
for _ in range(50):
    large.append(c.malloc(2**20))
    ctypes.memset(large[-1], 1, 2**20)
    c.malloc(600)
before = resident_mib()
for each in large:
    c.free(each)
print(before - resident_mib())
"""
# Each thread stays until all have taken some memory, so that none can have what another had.
THREADS = """
import ctypes, pathlib, re, sys, threading
from router import heap

def heaps():
    # A heap of a thread begins at a multiple of 64 MiB, of which little can be read or written at first.
    maps = pathlib.Path("/proc/self/maps").read_text()
    maps = re.findall(r"^([0-9a-f]+)-[0-9a-f]+ rw-p 00000000 00:00 0 *$", maps, re.M)
    return sum(int(start, 16) % 2**26 == 0 for start in maps)

if "give_back" in sys.argv:
    heap.give_back()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
together = threading.Barrier(9)

def take():
    c.malloc(1000)
    together.wait()
    together.wait()

before = heaps()
threads = [threading.Thread(target=take) for _ in range(8)]
for each in threads:
    each.start()
together.wait()
print(heaps() - before)
together.wait()
"""
FROZEN = """
import gc
from router import heap

heap.set_aside()
print(gc.get_freeze_count(), *gc.get_threshold())
"""


def _said(script: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, check=True, text=True)
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps its memory in its own way")
def test_large_blocks_that_are_let_go_go_back_to_the_system() -> None:
    assert float(_said(LARGE, "give_back")) > 45
    assert float(_said(LARGE)) < 25, "which glibc does not do by itself: else there is nothing to set"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps its memory in its own way")
def test_threads_share_one_heap() -> None:
    assert int(_said(THREADS, "give_back")) == 0
    assert int(_said(THREADS)) > 1, "which glibc does not do by itself"


def test_what_exists_at_the_start_is_not_looked_at_again() -> None:
    frozen, *thresholds = map(int, _said(FROZEN).split())
    assert frozen > 1_000
    assert thresholds == [50_000, 10, 10]
