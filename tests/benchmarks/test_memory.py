"""The memory benchmark: where it looks, what it refuses, and what its exit code says; not what it measures."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import memory
from benchmarks.__main__ import main
from benchmarks.memory import BASE, MARKS, STRETCH, stretches
from benchmarks.memory_tables import AT_ONCE, TURNS, events_of
from benchmarks.processes import BenchmarkError
from router.guards.book import Book
from router.guards.events import Asked
from router.policy import Guards

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("requests", [10_001, 25_000, 1_000_000])
def test_the_load_stops_at_each_mark_and_goes_to_the_end_without_a_gap(requests: int) -> None:
    found = list(stretches(requests))
    ends = [end for _, end in found]
    assert found[0][0] == 0
    assert ends[-1] == requests
    assert all(one[1] == two[0] for one, two in pairwise(found))
    assert {each for each in MARKS if each < requests} <= set(ends)
    assert all(0 < end - start <= STRETCH for start, end in found)


def test_what_cannot_be_compared_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--requests", str(BASE)]) == 2
    assert "--requests" in capsys.readouterr().err


@pytest.mark.parametrize(("verdict", "code"), [("goal met", 0), ("bar met", 0), ("not met", 1)])
def test_a_missed_bar_is_told_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verdict: str, code: int
) -> None:
    figure = {
        "figure": "rss_mb", "shows": "memory", "unit": "MB", "median": 149.0, "low": 149.0, "high": 149.0, "bar": 150,
        "goal": 90, "verdict": verdict,
    }  # fmt: skip
    result: dict[str, Any] = {
        "samples": [{"requests": BASE, "rss_mb": 149.0, "per_s": 800}],
        "guards_tables": {"questions": {"tables": {"nodes": {"records": 1, "mb": 0.1, "bytes_each": 9}}, "mb": 0.1}},
        "figures": [figure],
        "at_ready_mb": 100.0,
        "ledger_bytes_per_request": 6_000,
    }
    monkeypatch.setattr(memory, "measured", lambda requests: {**result, "requests": requests})
    out = tmp_path / "there" / "memory.json"
    assert main(["memory", "--requests", "20000", "--out", str(out)]) == code
    assert json.loads(out.read_text()) == {**result, "requests": 20_000}


def test_a_wrong_answer_is_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(_: int) -> dict[str, Any]:
        raise BenchmarkError("1 of 9 answers is wrong")

    monkeypatch.setattr(memory, "measured", fails)
    out = tmp_path / "memory.json"
    assert main(["memory", "--requests", "20000", "--out", str(out)]) == 1
    assert not out.exists()


@pytest.mark.parametrize(("kind", "lineages"), [("questions", 600), ("agents", AT_ONCE)])
def test_the_tables_are_filled_with_what_the_kind_says(
    monkeypatch: pytest.MonkeyPatch, kind: str, lineages: int
) -> None:
    monkeypatch.setattr("benchmarks.memory_tables.EVENTS", 600)
    book = Book()
    for event in events_of(kind):
        book.fold(event, Guards())
    asked = [each for each in events_of(kind) if isinstance(each, Asked)]
    assert len(book.nodes) == len(book.answers) == len(asked) == 600
    assert len(book.roots) == lineages
    assert len(book.patterns) == 1_200
    assert len(book.pieces) == 6_000
    assert max(node.calls for _, node in book.nodes.items()) == (1 if kind == "questions" else 600 // AT_ONCE)
    assert TURNS > 32, "as many turns as a node remembers, and more"
