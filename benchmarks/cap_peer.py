"""LiteLLM's proxy under the load of ``cap``: a budget of one dollar on the vendor, as its documentation sets one."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai import OpenAI

from benchmarks import cap
from benchmarks.processes import Process, free_port
from benchmarks.redis_server import RedisServer
from benchmarks.stack import clean_environment, order_faults
from benchmarks.systems import PEER_KEY, READY_S, REPO
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse

# Spend is counted per vendor; fallbacks as its router makes them, the same vendor's models behind one name.
CONFIG = """
model_list:
  - model_name: auto
    litellm_params: {{model: anthropic/claude-opus-5-5, api_base: "{anthropic}", api_key: sk-simulated}}
litellm_settings: {{disable_hf_tokenizer_download: true}}
router_settings:
  num_retries: 2
  provider_budget_config:
    anthropic: {{budget_limit: 1.0, time_period: 1d}}
{redis}
"""
REDIS = """  redis_host: 127.0.0.1
  redis_port: {port}
"""


def peer_over(arguments: argparse.Namespace, workers: int) -> dict[str, Any]:
    """The same waves; workers share their budget through Redis, as its documentation asks."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-cap-peer-")))
        simulator = stack.enter_context(SimulatorProcess(seed=arguments.seed, speed=0.05))
        order_faults(simulator, cap.faults_of(arguments.fault_rate, arguments.seed))
        redis_text = ""
        if workers > 1:
            redis = RedisServer()
            stack.callback(redis.close)
            redis.start()
            redis_text = REDIS.format(port=redis.port)
        config = folder / "litellm.yaml"
        config.write_text(CONFIG.format(anthropic=simulator.urls.anthropic, redis=redis_text), encoding="utf-8")
        port = free_port()
        command = [
            str(Path(arguments.peer).parent / "litellm"),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", str(workers)),
        ]
        env = clean_environment(
            LITELLM_MASTER_KEY=PEER_KEY,
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            LITELLM_LOG="ERROR",
            LITELLM_TELEMETRY="False",
        )
        process = Process.start("litellm", command, core=None, folder=folder, env=env, cwd=REPO)
        stack.callback(process.stop)
        process.wait_ready(f"http://127.0.0.1:{port}/health/readiness", READY_S)
        started_s = time.monotonic()
        waves = waves_of(f"http://127.0.0.1:{port}", arguments)
        return cap.figures_of(waves, simulator, time.monotonic() - started_s)


def waves_of(url: str, arguments: argparse.Namespace) -> list[Counter[str]]:
    """As ``cap.waves_of``, with its key."""
    numbers = itertools.count()
    found: list[Counter[str]] = []
    with (
        OpenAI(base_url=f"{url}/v1", api_key=PEER_KEY, max_retries=0, timeout=120) as client,
        ThreadPoolExecutor(arguments.concurrent) as pool,
    ):
        while len(found) < cap.WAVES_MAX:
            some = list(itertools.islice(numbers, arguments.concurrent))
            wave = Counter(pool.map(lambda number: cap.ask(client, number), some))
            found.append(wave)
            if not wave["answered"]:
                break
    return found
