"""What rounds add up to is plain arithmetic, and a bar is met from its own value on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import BARS, Bar, Round, Spread, judged, paired, percentile, significant, spread_of


def round_of(number: int, system: str, *, requests: int = 100, elapsed_s: float = 2.0, cpu_s: float = 0.1) -> Round:
    return Round(number, "plain", system, requests, elapsed_s, cpu_s, load_share=0.1, others_share=None)


def test_a_round_gives_rate_and_processor_time_of_one_request() -> None:
    each = round_of(1, "tollgate", requests=500, elapsed_s=2.5, cpu_s=0.25)

    assert each.per_s == 200
    assert each.cpu_us == 500


def test_a_spread_has_the_middle_and_both_ends() -> None:
    assert spread_of([3, 1, 2]) == Spread(2, 1, 3)
    assert spread_of([4, 1, 2, 3]) == Spread(2.5, 1, 4)
    with pytest.raises(ValueError, match="nothing"):
        spread_of([])


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(each) for each in range(1, 101)]

    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert percentile([7.0], 0.01) == 7
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_not_exceeded_by_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(each <= found for each in values) >= share * len(values)


def test_systems_are_compared_within_a_round_only() -> None:
    rounds = [
        round_of(1, "tollgate", requests=1000),
        round_of(1, "litellm", requests=100),
        round_of(2, "tollgate", requests=400),  # the machine was busy in this round, for both
        round_of(2, "litellm", requests=40),
        round_of(3, "tollgate", requests=1000),  # and the peer's third round is missing
    ]

    found = paired(rounds, "plain", "tollgate", "litellm", "per_s")

    assert found == Spread(10, 10, 10)
    assert paired(rounds, "plain", "tollgate", "floor", "per_s") is None
    assert paired(rounds, "stream", "tollgate", "litellm", "per_s") is None


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(40, "goal met"), (39.9, "bar met"), (15, "bar met"), (14.9, "not met"), (0, "not met")],
)
def test_a_floor_is_met_from_its_value_up(value: float, verdict: str) -> None:
    assert Bar("rate", "", 15, 40, "x").verdict(value) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.8, "goal met"), (0.81, "bar met"), (2, "bar met"), (2.01, "not met")],
)
def test_a_ceiling_is_met_from_its_value_down(value: float, verdict: str) -> None:
    assert Bar("added", "", 2, 0.8, "ms", is_ceiling=True).verdict(value) == verdict


def test_every_goal_is_at_least_as_hard_as_its_bar() -> None:
    assert len({bar.key for bar in BARS}) == len(BARS)
    for bar in BARS:
        assert bar.verdict(bar.goal) == "goal met"
        assert (bar.goal <= bar.bar) == bar.is_ceiling, bar.key


def test_only_what_was_measured_is_judged_and_by_its_median() -> None:
    found = judged({"added_p50_ms": Spread(1.5, 0.5, 9.0), "rate_plain": Spread(41.234567, 20, 60)})

    assert [(each["figure"], each["verdict"]) for each in found] == [
        ("rate_plain", "goal met"),
        ("added_p50_ms", "bar met"),
    ]
    assert found[0]["median"] == 41.23


def test_figures_are_written_at_four_digits() -> None:
    assert significant(12_345.678) == 12_350
    assert significant(0.000123456) == 0.0001235
    assert significant(0) == 0
