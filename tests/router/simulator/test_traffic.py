from __future__ import annotations

import gzip
import json
from statistics import quantiles
from typing import TYPE_CHECKING

import pytest

from router.simulator.traffic import INPUT_QUANTILES, OUTPUT_QUANTILES, quantile_of, traffic

if TYPE_CHECKING:
    from pathlib import Path


def test_drawn_lengths_have_the_counted_quantiles() -> None:
    arrivals = traffic(5, 6000)
    for values, counted in (
        ([a.input_tokens for a in arrivals], INPUT_QUANTILES),
        ([a.output_tokens for a in arrivals], OUTPUT_QUANTILES),
    ):
        cuts = quantiles(values, n=20)
        for share, index in ((0.25, 4), (0.5, 9), (0.75, 14), (0.9, 17)):
            assert cuts[index] == pytest.approx(quantile_of(counted, share), rel=0.12)


def test_a_third_of_the_input_repeats_a_prefix() -> None:
    arrivals = traffic(5, 6000)
    share = sum(a.shared_tokens for a in arrivals) / sum(a.input_tokens for a in arrivals)
    assert 0.32 <= share <= 0.42
    for index, arrival in enumerate(arrivals):
        if arrival.follows is not None:
            assert arrival.follows < index
            assert arrival.shared_tokens <= min(arrival.input_tokens, arrivals[arrival.follows].input_tokens)


def test_the_same_seed_draws_the_same_hour() -> None:
    assert traffic(1, 50) == traffic(1, 50) != traffic(2, 50)
    assert [a.t_ms for a in traffic(1, 50)] == sorted(a.t_ms for a in traffic(1, 50))


def test_the_real_trace_is_replayed_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "traffic"
    folder.mkdir()
    rows = [
        {"t_ms": 0, "input_tokens": 1300, "output_tokens": 5, "prefix_blocks": [1, 2, 3]},
        {"t_ms": 900, "input_tokens": 1100, "output_tokens": 7, "prefix_blocks": [1, 2, 9]},
    ]
    with gzip.open(folder / "mooncake_conversation.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    monkeypatch.setenv("TOLLGATE_SHARED_DATA", str(tmp_path))
    arrivals = traffic(1, 4, from_trace=True)
    assert sorted({a.input_tokens for a in arrivals}) == [1100, 1300]
    assert arrivals[1].follows == 0
    assert arrivals[1].shared_tokens == 1024
    assert [a.t_ms for a in arrivals] == sorted(a.t_ms for a in arrivals)


def test_without_the_trace_the_hour_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLGATE_SHARED_DATA", str(tmp_path))
    assert traffic(1, 5, from_trace=True) == traffic(1, 5)
