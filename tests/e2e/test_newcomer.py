"""The ten minutes of docs/calibration.md, on a made-up workload of a new kind, from an empty start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.newcomer import newcomer
from benchmarks.stack import GatewayProcess, simulated_policy

if TYPE_CHECKING:
    from pathlib import Path

    from router.simulator import SimulatorProcess


def test_one_command_turns_graded_clauses_into_a_promise_that_is_kept(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    gateway = GatewayProcess(tmp_path / "home", simulated_policy(simulator.urls))
    gateway.start()
    try:
        found = newcomer(gateway, labels=200, asked=120, seed=7)
    finally:
        gateway.stop()
    assert found["ok"], found
    after = [row for row in found["rows"] if row["when"] == "after"]
    assert max(row["routed"] for row in after) > 0.2
