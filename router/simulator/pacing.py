"""How long a simulated vendor takes: time to the first byte, then so long a token, by the model's weight.

The figures are the simulator's own, of the size that vendors' status pages and public latency boards show.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from router.simulator.answers import Ask
    from router.simulator.catalogue import Usage

_HEAVY = ("opus", "fable", "mythos", "pro", "405b", "argon")
_LIGHT = ("haiku", "lite", "8b", "3b", "1b", "mini", "instant")
FIRST_BYTE_MS = {"heavy": 950.0, "middle": 480.0, "light": 260.0}
TOKEN_MS = {"heavy": 14.0, "middle": 7.0, "light": 4.0}
PROMPT_TOKEN_MS = {"heavy": 0.020, "middle": 0.010, "light": 0.005}


@dataclass(frozen=True, slots=True)
class Pace:
    """Waits in seconds: before the first byte, between events, and of the whole answer."""

    first_byte_s: float
    gap_s: float
    total_s: float


def weight_of(model: str) -> str:
    """heavy, middle or light, by what the model's name says."""
    name = model.lower()
    if any(part in name for part in _LIGHT):
        return "light"
    return "heavy" if any(part in name for part in _HEAVY) else "middle"


def pace_of(ask: Ask, usage: Usage, draw: Random, speed: float, gap_ms: float | None, events: int) -> Pace:
    """The waits of one call; ``gap_ms`` fixes the gap between events."""
    if speed <= 0 and gap_ms is None:
        return Pace(0.0, 0.0, 0.0)
    weight = weight_of(ask.model.name)
    uncached = usage.input_tokens - usage.cache_read
    first_ms = FIRST_BYTE_MS[weight] * exp(draw.gauss(0.0, 0.25)) + uncached * PROMPT_TOKEN_MS[weight]
    first_ms += usage.output_reasoning * TOKEN_MS[weight]
    text_ms = usage.output_text * TOKEN_MS[weight] * exp(draw.gauss(0.0, 0.1))
    gap_s = speed * text_ms / 1000 / max(1, events) if gap_ms is None else gap_ms / 1000
    return Pace(speed * first_ms / 1000, gap_s, speed * (first_ms + text_ms) / 1000)
