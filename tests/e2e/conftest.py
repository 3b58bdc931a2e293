"""A whole gateway with simulated vendors, each in a process of its own, for tests that need the real thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.stack import GatewayProcess
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def policy_text(simulator: SimulatorProcess, lease_s: float = 900) -> str:
    urls = simulator.urls
    return POLICY.format(anthropic=urls.anthropic, gemini=urls.gemini, openai=urls.openai, lease_s=lease_s)


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7, speed=0, prices_override=CONTRACTS) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path / "home", policy_text(simulator))
    running.start()
    try:
        yield running
    finally:
        running.stop()
