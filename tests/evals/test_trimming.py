"""What is counted of a trim: own passages that survive it, beside cutting blindly."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.leak_agents import prose
from evals.trimming import figures, measured, trimming

if TYPE_CHECKING:
    from pathlib import Path

TOPICS = ("lighthouse", "glacier", "orchard", "violin", "printer", "ferry", "beehive", "quarry")


def conversations(count: int) -> list[dict[str, object]]:
    """Made up: every passage names its topic, and so does the question."""
    chance = random.Random(3)
    return [
        {
            "documents": [f"{prose(chance, 30)} The {topic} {number} is old. {prose(chance, 30)}" for _ in range(2)],
            "messages": [{"role": "user", "content": f"How old is the {topic} {number}?"}],
            "dup_group": f"g{number}",
        }
        for number, topic in zip(range(count), TOPICS * 9, strict=False)
    ]


def test_own_passages_survive_where_blind_cuts_lose_them() -> None:
    found = measured(conversations(16))
    assert found["0.25"]["ours"]["kept"] > 0.9
    assert found["0.25"]["random"]["kept"] < 0.6
    assert found["0.25"]["ours"]["kept_low"] <= found["0.25"]["ours"]["kept"] <= found["0.25"]["ours"]["kept_high"]
    assert measured(conversations(16)) == found


def test_twins_do_not_narrow_an_interval() -> None:
    values = np.array([[1.0, 1.0], [0.0, 0.0]] * 20)
    apart = figures(values, [f"g{number}" for number in range(40)])
    twins = figures(values, [f"g{number % 2}" for number in range(40)])
    assert twins["kept_high"] - twins["kept_low"] > 2 * (apart["kept_high"] - apart["kept_low"])


def test_the_command_reads_the_shared_form_and_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "routing").mkdir()
    rows = [
        {
            "prompt": json.dumps({"documents": each["documents"], "messages": each["messages"]}),
            "dup_group": each["dup_group"],
        }
        for each in [*conversations(8), {"documents": [], "messages": [], "dup_group": "none"}]
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "routing" / "mtrag_human.prompts.parquet")
    monkeypatch.setenv("TOLLGATE_SHARED_DATA", str(tmp_path))
    said: list[str] = []
    trimming(out=tmp_path / "out.json", say=said.append)
    assert said[0].startswith("8 conversations")
    assert json.loads((tmp_path / "out.json").read_text())["conversations"] == 8
    monkeypatch.setenv("TOLLGATE_SHARED_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        trimming(say=said.append)
