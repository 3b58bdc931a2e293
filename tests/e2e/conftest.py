"""A whole gateway with simulated vendors, each in a process of its own, for tests that need the real thing."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parent.parent.parent

POLICY = """
version: 1
name: e2e
models:
  claude-opus:
    {{provider_model: anthropic/claude-opus-5-5, vendor: anthropic, tier: premium, api_base: "{anthropic}"}}
  claude-haiku:
    {{provider_model: anthropic/claude-haiku-5-5, vendor: anthropic, tier: economy, api_base: "{anthropic}"}}
  gemini-flash:
    {{provider_model: gemini/gemini-3.8-flash, vendor: google, tier: standard, api_base: "{gemini}"}}
  llama-70b:
    provider_model: together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo
    vendor: meta
    tier: economy
    api_base: "{openai}"
    price_usd_per_mtok: {{input: 0.88, output: 0.88}}
    output_tokens_max: 8192
    capabilities: [tools, parallel_tools, response_schema, system]
routing:
  premium: claude-opus
  quality_tiers: {{premium: 0.0, high: 0.02, balanced: 0.05, economy: 0.15}}
  default_tier: balanced
  drop: [sampling_params, output_limit]
limits: {{lease_s: {lease_s}}}
upstream: {{first_byte_timeout_s: 5, between_bytes_timeout_s: 2, cooldown_failures: 1000}}
"""
CONTRACTS = {"meta-llama/Llama-3.3-70B-Instruct-Turbo": {"input": "0.88", "output": "0.88"}}
KEYS = {"ANTHROPIC_API_KEY": "sk-test", "GEMINI_API_KEY": "sk-test", "TOGETHERAI_API_KEY": "sk-test"}


@dataclass
class Running:
    """A gateway process and where it is."""

    url: str
    home: Path
    simulator: SimulatorProcess
    policy: Path
    process: subprocess.Popen[bytes]

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(30)


def start_gateway(home: Path, simulator: SimulatorProcess, *, lease_s: float = 900, port: int = 0) -> Running:
    policy = home / "policy.yaml"
    home.mkdir(parents=True, exist_ok=True)
    urls = simulator.urls
    policy.write_text(POLICY.format(anthropic=urls.anthropic, gemini=urls.gemini, openai=urls.openai, lease_s=lease_s))
    log = (home / "gateway.log").open("ab")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "router.cli",
            "serve",
            "--port",
            str(port),
            "--policy",
            str(policy),
            "--home",
            str(home),
        ],
        cwd=REPO,
        env={**os.environ, **KEYS, "PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=log,
    )
    log.close()
    assert process.stdout is not None
    deadline = time.monotonic() + 60
    url = None
    while url is None and time.monotonic() < deadline:
        line = process.stdout.readline().decode()
        if not line and process.poll() is not None:
            raise AssertionError((home / "gateway.log").read_text())
        found = re.search(r"Tollgate\s+(http://\S+)", line)
        url = found.group(1) if found else None
    assert url is not None
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/healthz", timeout=2):
            return Running(url, home, simulator, policy, process)
        time.sleep(0.05)
    raise AssertionError("the gateway never became healthy")


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7, speed=0, prices_override=CONTRACTS) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[Running]:
    running = start_gateway(tmp_path / "home", simulator)
    try:
        yield running
    finally:
        running.stop()
        assert running.process.stdout is not None
        running.process.stdout.close()
