"""``tollgate simulate``: the simulated vendors alone."""

from __future__ import annotations

from router.simulator import run_simulator


def run(*, host: str, seed: int, speed: float) -> None:
    """Serve until stopped; the addresses are printed first."""
    run_simulator(host=host, seed=seed, speed=speed)
