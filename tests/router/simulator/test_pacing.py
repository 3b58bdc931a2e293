"""How long a simulated vendor takes depends on the model, the prompt and the answer."""

from __future__ import annotations

from random import Random
from statistics import median
from typing import Any

import pytest

from router.simulator.answers import Ask
from router.simulator.catalogue import Model, Usage
from router.simulator.pacing import Pace, pace_of, weight_of

USAGE = Usage(input_uncached=1_000, output_text=300)


def ask_of(name: str) -> Ask:
    model = Model(name, (), 200_000, 8_000, 1024, thinks_always=False, flags={})
    return Ask("anthropic", model, 1_000, "?", 1_000)


def paces(name: str, usage: Usage = USAGE, *, speed: float = 1.0, gap_ms: float | None = None) -> list[Pace]:
    return [pace_of(ask_of(name), usage, Random(seed), speed, gap_ms, 30) for seed in range(60)]


def typical(found: list[Pace], field: str) -> float:
    return median(getattr(pace, field) for pace in found)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("claude-opus-5-5", "heavy"),
        ("claude-sonnet-5-5", "middle"),
        ("claude-haiku-5-5", "light"),
        ("gemini-3.8-flash-lite", "light"),
        ("meta-llama/Llama-3.3-70B-Instruct", "middle"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "light"),
        ("meta-llama/Meta-Llama-3.1-405B-Instruct", "heavy"),
    ],
)
def test_a_models_name_says_how_heavy_it_is(name: str, weight: str) -> None:
    assert weight_of(name) == weight


@pytest.mark.parametrize("field", ["first_byte_s", "gap_s", "total_s"])
def test_heavier_models_take_longer_in_every_part(field: str) -> None:
    light, middle, heavy = (typical(paces(f"claude-{name}"), field) for name in ("haiku", "sonnet", "opus"))
    assert light < middle < heavy


@pytest.mark.parametrize(
    ("longer", "field"),
    [
        ({"output_text": 600}, "total_s"),
        ({"output_text": 600}, "gap_s"),
        ({"input_uncached": 50_000}, "first_byte_s"),
        ({"output_reasoning": 400}, "first_byte_s"),
    ],
)
def test_length_costs_time_where_it_arises(longer: dict[str, Any], field: str) -> None:
    base = {"input_uncached": 1_000, "output_text": 300}
    assert typical(paces("opus", Usage(**(base | longer))), field) > typical(paces("opus"), field)


def test_cached_tokens_are_read_and_not_worked_through() -> None:
    cold = Usage(input_uncached=60_000, output_text=300)
    warm = Usage(input_uncached=1_000, cache_read=59_000, output_text=300)
    assert typical(paces("opus", warm), "first_byte_s") < typical(paces("opus", cold), "first_byte_s") / 1.5


def test_speed_scales_every_wait_and_nought_waits_for_nothing() -> None:
    for slow, fast in zip(paces("opus"), paces("opus", speed=0.1), strict=True):
        assert fast.first_byte_s == pytest.approx(slow.first_byte_s / 10)
        assert fast.gap_s == pytest.approx(slow.gap_s / 10)
        assert fast.total_s == pytest.approx(slow.total_s / 10)
    assert set(paces("opus", speed=0)) == {Pace(0.0, 0.0, 0.0)}
    assert {pace.gap_s for pace in paces("opus", speed=0, gap_ms=12)} == {0.012}


def test_equal_draws_take_equally_long() -> None:
    assert paces("sonnet") == paces("sonnet")
    assert len(set(paces("sonnet"))) == 60
