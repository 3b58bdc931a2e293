"""Drift is looked up in the ledger, told once, kept on disk, and ends where the prompts are as graded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from router.calibration import Calibrations, Match
from router.config.drifts import NAME, DriftWatch, read_drifts
from router.stores.memory import MemoryLedger
from tests.lines import START_MS, StillClock, intent_line, settlement_line
from tests.router.test_drift import calibration_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MINE = calibration_of()
KNOWN = Calibrations({MINE.match: MINE})


async def filled(ledger: MemoryLedger, values: Any, prefix: str, time_ms: int) -> None:
    for index, value in enumerate(values):
        name = f"{prefix}{index}"
        await ledger.append(intent_line(name, time_ms=time_ms, complexity=float(value)), settlement_line(name))


async def test_other_prompts_are_noticed_told_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger, clock = MemoryLedger(), StillClock()
    watch = DriftWatch(tmp_path, ledger, clock, "quality")
    await filled(ledger, np.random.default_rng(3).beta(2, 5, 400), "a", START_MS)
    assert await watch.look_once(KNOWN) is False
    assert not watch.drifts[MINE.match].is_over
    clock.time_ms += 1000
    await filled(ledger, [0.97] * 500, "b", START_MS + 500)
    with caplog.at_level("WARNING"):
        assert await watch.look_once(KNOWN) is True
        assert await watch.look_once(KNOWN) is False
    assert [record.getMessage() for record in caplog.records] == ["promise withdrawn: prompts drifted"]
    assert read_drifts(tmp_path) == watch.drifts
    assert DriftWatch(tmp_path, ledger, clock, "quality").drifts[MINE.match].is_over, "a start forgets nothing"
    clock.time_ms += 1000
    await filled(ledger, np.random.default_rng(4).beta(2, 5, 500), "c", START_MS + 1500)
    assert await watch.look_once(KNOWN) is True
    assert not watch.drifts[MINE.match].is_over


async def test_a_rules_workload_is_watched_by_what_receipts_say_of_its_requests(tmp_path: Path) -> None:
    ledger, rule = MemoryLedger(), calibration_of(Match("rule", "contracts"))
    for index in range(300):
        receipt = {"rules": ("contracts",)} if index % 2 else {"rules": ()}
        await ledger.append(intent_line(f"a{index}", complexity=0.97, receipt=receipt), settlement_line(f"a{index}"))
    watch = DriftWatch(tmp_path, ledger, StillClock(), "quality")
    assert await watch.look_once(Calibrations({rule.match: rule})) is False, "150 are too few"
    for index in range(300, 400):
        receipt = {"rules": ("contracts",)}
        await ledger.append(intent_line(f"a{index}", complexity=0.97, receipt=receipt), settlement_line(f"a{index}"))
    assert await watch.look_once(Calibrations({rule.match: rule})) is True
    assert watch.drifts[rule.match].prompts == 250


async def test_without_calibrations_nothing_is_read_and_nothing_known(tmp_path: Path) -> None:
    ledger: Any = None
    watch = DriftWatch(tmp_path, ledger, StillClock(), "quality")
    assert await watch.look_once(Calibrations()) is False
    assert watch.drifts == {}
    assert not (tmp_path / NAME).exists()


def test_a_file_that_is_none_is_as_no_file(tmp_path: Path) -> None:
    for content in ("", "[]", '{"workloads": [{"match": {"kind": "moon"}}]}', "[" * 100_000):
        (tmp_path / NAME).write_text(content, encoding="utf-8")
        assert read_drifts(tmp_path) == {}


async def test_a_folder_that_cannot_be_written_loses_no_alarm(tmp_path: Path) -> None:
    ledger, clock = MemoryLedger(), StillClock()
    clock.time_ms += 1000
    await filled(ledger, [0.97] * 300, "b", START_MS)
    watch = DriftWatch(tmp_path / "is not there", ledger, clock, "quality")
    assert await watch.look_once(KNOWN) is True
    assert watch.drifts[MINE.match].is_over
