"""The gateway is killed under load: no billed call is missing from the ledger, none is there twice, none stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.crash import LEASE_S, killed
from benchmarks.stack import GatewayProcess, simulated_policy
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 3


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_killed_gateway_loses_and_doubles_nothing(tmp_path: Path, store: str, request: pytest.FixtureRequest) -> None:
    ledger_url = request.getfixturevalue("postgres_url") if store == "postgres" else None
    with SimulatorProcess(seed=5, speed=0.05) as simulator:
        policy = simulated_policy(simulator.urls, limits={"lease_s": LEASE_S})
        gateway = GatewayProcess(tmp_path / "home", policy, ledger_url=ledger_url)
        try:
            found = killed(gateway, simulator, kills=KILLS, workers=6, seed=5)
        finally:
            if gateway.is_alive():
                gateway.kill()
    assert found["vendors"]["unexplained"] == []
    assert found["ok"], found
    assert found["billed_calls"] > 10 * KILLS
    assert found["closed_by_lease"] > 0, "no kill met a call on its way"
