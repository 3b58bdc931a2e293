"""Generated requests against a live gateway: the fuzz benchmark in small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.fuzz import fuzzed
from benchmarks.stack import GatewayProcess, simulated_policy
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    from pathlib import Path


def test_generated_requests_get_no_5xx_and_leave_everything_sound(tmp_path: Path) -> None:
    with SimulatorProcess(seed=3, speed=0) as simulator:
        gateway = GatewayProcess(tmp_path / "home", simulated_policy(simulator.urls))
        gateway.start()
        try:
            figures = fuzzed(gateway, simulator, count=300, number=3)
        finally:
            if gateway.is_alive():
                gateway.stop()
    assert figures["failures_kept"] == []
    assert figures["ok"], figures
    assert figures["requests"] == 300
    assert figures["vendor_calls_billed"] > 10, "nothing sound was drawn"
    assert len(figures["codes"]) > 6
