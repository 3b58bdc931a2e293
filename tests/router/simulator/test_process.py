from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from router.simulator import SimulatorProcess, SimulatorUrls, serve_simulator


def bill(url: str) -> bytes:
    with urllib.request.urlopen(f"{url}/_simulator/bill", timeout=5) as answer:
        return bytes(answer.read())


def is_alive(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_child_listens_and_ends() -> None:
    with SimulatorProcess(seed=1, speed=0, prices_override={"m": {"input": 1, "output": "2.5"}}) as sim:
        pid = sim.pid
        assert pid is not None
        for url in (sim.anthropic_url, sim.gemini_url, sim.openai_url.removesuffix("/v1")):
            assert bill(url) == b""
    assert not is_alive(pid)


def test_the_child_ends_when_its_parent_is_killed() -> None:
    script = (
        "import time; from router.simulator import SimulatorProcess as P; "
        "s = P(speed=0); s.start(); print(s.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline_s = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_alive(child)


def test_a_child_that_cannot_start_says_why() -> None:
    with pytest.raises(OSError, match=r"no-such\.json"):
        SimulatorProcess(catalogue_path="no-such.json").start()


async def test_serving_tells_its_addresses_and_stops() -> None:
    stop = asyncio.Event()
    told = []

    def ready(urls: SimulatorUrls) -> None:
        told.append(urls)
        stop.set()

    await serve_simulator(ports=(0, 0, 0), when_ready=ready, stop=stop, speed=0)
    assert told[0].openai.endswith("/v1")
    assert len(told[0].lines().splitlines()) == 3
