"""``tollgate simulate``: the simulated vendors alone, and how to point a policy at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from router.errors import ConfigError
from router.simulator import FAULTS, Behaviour, run_simulator

if TYPE_CHECKING:
    from router.simulator import SimulatorUrls

PORT_MAX = 65_533


def run(*, host: str, seed: int, speed: float, port_base: int) -> None:
    """Serve until stopped; the addresses are printed first. Raises ConfigError when a port is taken."""
    if not 0 <= port_base <= PORT_MAX:
        raise ConfigError(f"--port-base: must be a number in 0..{PORT_MAX}")
    ports = (port_base, port_base + 1, port_base + 2) if port_base else (0, 0, 0)
    try:
        run_simulator(
            host=host,
            ports=ports,
            behaviour=Behaviour(seed=seed, speed=speed),
            when_ready=lambda urls: typer.echo(banner_of(urls)),
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror}; choose other ports with --port-base") from error


def banner_of(urls: SimulatorUrls) -> str:
    """Where the vendors are, lines to paste into a policy, and how to read the bill and order faults."""
    return f"""
  Simulated vendors: wires, limits, prices and bills are real, answers carry no wisdom. Any key is accepted.

  In a policy's models (policies/default.yaml is one), beside each `provider_model`:
    anthropic/...   api_base: {urls.anthropic}
    gemini/...      api_base: {urls.gemini}
    deepinfra/...   api_base: {urls.host("deepinfra")}    (any host: its own name in the path, its own prices)
  and in the environment of `tollgate serve --policy FILE`:
    ANTHROPIC_API_KEY=any GEMINI_API_KEY=any DEEPINFRA_API_KEY=any

  bill      curl {urls.anthropic}/_simulator/bill
  summary   curl {urls.anthropic}/_simulator/summary
  faults    curl {urls.anthropic}/_simulator/faults -d '{{"fault": "529", "rate": 0.05, "seed": 1}}'
            ({", ".join(FAULTS)})
"""
