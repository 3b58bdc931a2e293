"""Local servers that speak the vendors' real wire formats and keep the bill that the vendors would send.

Nothing here imports the gateway's own code: prices are read from the catalogue's raw file and applied by a second
implementation, so that the bill is evidence about the ledger and not an echo of it.
"""

from __future__ import annotations

from router.simulator.catalogue import load_catalogue
from router.simulator.faults import FAULTS
from router.simulator.process import SimulatorProcess
from router.simulator.server import Simulator, SimulatorUrls, run_simulator, serve_simulator
from router.simulator.traffic import Arrival, traffic
from router.simulator.vendor import Behaviour

__all__ = [
    "FAULTS",
    "Arrival",
    "Behaviour",
    "Simulator",
    "SimulatorProcess",
    "SimulatorUrls",
    "load_catalogue",
    "run_simulator",
    "serve_simulator",
    "traffic",
]
