"""Arrivals, lengths and shared prefixes like one hour of a real chat service.

The constants were counted in the Mooncake conversation trace (kvcache-ai/Mooncake, FAST 2025, Apache-2.0:
12,031 requests in one hour; 37 % of the input tokens repeat a prefix seen before). No row of it is in this package.
"""

from __future__ import annotations

import gzip
import json
import os
from bisect import bisect_right
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Quantiles = tuple[tuple[float, float], ...]

INPUT_QUANTILES: Quantiles = (
    (0.0, 200.0),
    (0.10, 964.0),
    (0.25, 2306.0),
    (0.50, 6909.0),
    (0.75, 15368.0),
    (0.90, 27367.0),
    (0.99, 85401.0),
    (1.0, 120000.0),
)
OUTPUT_QUANTILES: Quantiles = (
    (0.0, 4.0),
    (0.10, 24.0),
    (0.25, 156.0),
    (0.50, 350.0),
    (0.75, 472.0),
    (0.90, 597.0),
    (0.99, 1120.0),
    (1.0, 2000.0),
)
ARRIVALS_PER_S = 12_031 / 3600
BLOCK_TOKENS = 512
FOLLOW_UP_SHARE = 0.94
TRACE_FILE = "traffic/mooncake_conversation.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of the trace; its first ``shared_tokens`` equal those of the request at index ``follows``."""

    t_ms: int
    input_tokens: int
    output_tokens: int
    follows: int | None
    shared_tokens: int


def quantile_of(quantiles: Sequence[tuple[float, float]], share: float) -> float:
    """The value at a share in 0..1, interpolated geometrically between the counted quantiles."""
    at = min(max(bisect_right(quantiles, (share, float("inf"))), 1), len(quantiles) - 1)
    (low_share, low), (high_share, high) = quantiles[at - 1], quantiles[at]
    position = (share - low_share) / (high_share - low_share)
    return exp(log(low) + (log(high) - log(low)) * position)


def traffic(seed: int, n: int, *, from_trace: bool = False) -> list[Arrival]:
    """Draw ``n`` arrivals; ``from_trace`` replays the real file where TOLLGATE_SHARED_DATA holds it, else draws.

    A replay starts at a random row, drawn with the seed, and wraps around.
    """
    trace = _load_trace() if from_trace else None
    if trace is not None:
        return _replayed(trace, seed, n)
    draw = Random(seed)
    made: list[Arrival] = []
    t_s = 0.0
    for index in range(n):
        t_s += draw.expovariate(ARRIVALS_PER_S)
        input_tokens = int(quantile_of(INPUT_QUANTILES, draw.random()))
        follows, shared = None, 0
        if index and draw.random() < FOLLOW_UP_SHARE:
            follows = draw.randrange(max(0, index - 400), index)
            earlier = made[follows]
            shared = min(input_tokens, earlier.input_tokens) // BLOCK_TOKENS * BLOCK_TOKENS
        output_tokens = int(quantile_of(OUTPUT_QUANTILES, draw.random()))
        made.append(Arrival(int(t_s * 1000), input_tokens, output_tokens, follows if shared else None, shared))
    return made


def _load_trace() -> list[dict[str, object]] | None:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("TOLLGATE_SHARED_DATA", default)) / TRACE_FILE
    if not path.is_file():
        return None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _replayed(trace: list[dict[str, object]], seed: int, n: int) -> list[Arrival]:
    start = Random(seed).randrange(len(trace))
    seen: dict[tuple[object, ...], int] = {}
    made: list[Arrival] = []
    offset_ms = 0
    before = None
    for index in range(n):
        row = trace[(start + index) % len(trace)]
        t_ms, tokens, output = (int(str(row[key])) for key in ("t_ms", "input_tokens", "output_tokens"))
        if before is None:
            offset_ms = -t_ms
        elif t_ms < before:
            offset_ms = made[-1].t_ms - t_ms
        before = t_ms
        blocks = row["prefix_blocks"]
        keys = list(blocks) if isinstance(blocks, list) else []
        follows, shared = None, 0
        for count in range(1, len(keys) + 1):
            earlier = seen.get((count, keys[count - 1]))
            if earlier is None:
                break
            follows, shared = earlier, min(count * BLOCK_TOKENS, tokens)
        for count, key in enumerate(keys, 1):
            seen[(count, key)] = index
        made.append(Arrival(t_ms + offset_ms, tokens, output, follows, shared))
    return made
