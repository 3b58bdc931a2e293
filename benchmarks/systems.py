"""The systems under measurement, each started as its own documentation says, with everything on that it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import POLL_S, BenchmarkError, Process, free_port
from benchmarks.workloads import requests_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workloads import Workload

REPO = Path(__file__).resolve().parent.parent
PEER_KEY = "sk-bench"
READY_S = 120.0
CHAT = "/v1/chat/completions"
VENDOR_KEYS = {"ANTHROPIC_API_KEY": "sk-bench", "TOGETHERAI_API_KEY": "sk-bench", "GEMINI_API_KEY": "sk-bench"}
LLAMA = "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo"

POLICY = """
version: 1
name: bench
models:
  claude-opus:
    provider_model: anthropic/claude-opus-5-5
    vendor: anthropic
    tier: premium
    api_base: "{vendor}"
    price_usd_per_mtok: {{input: 4.5, output: 22.5, cache_read: 0.45}}
  claude-haiku:
    provider_model: anthropic/claude-haiku-5-5
    vendor: anthropic
    tier: standard
    api_base: "{vendor}"
  llama-70b:
    provider_model: {llama}
    vendor: meta
    tier: economy
    api_base: "{vendor}/v1"
    price_usd_per_mtok: {{input: 0.04, output: 0.06}}
    output_tokens_max: 8192
    capabilities: [tools, parallel_tools, response_schema, system]
routing:
  premium: claude-opus
  quality_tiers: {{premium: 0.0, balanced: 0.05, economy: 0.6}}
  default_tier: balanced
  drop: [sampling_params, output_limit]
rules:
  - {{name: large-prompts, when: {{input_tokens_min: 50000}}, require: {{tier_min: standard}}}}
keys: {{file: keys.yaml}}
"""

PEER_CONFIG = """
model_list:
  - model_name: llama
    litellm_params: {{model: {llama}, api_base: "{vendor}/v1", api_key: sk-bench}}
  - model_name: opus
    litellm_params: {{model: anthropic/claude-opus-5-5, api_base: "{vendor}", api_key: sk-bench}}
  - model_name: haiku
    litellm_params: {{model: anthropic/claude-haiku-5-5, api_base: "{vendor}", api_key: sk-bench}}
  - model_name: auto
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config:
        tiers: {{SIMPLE: llama, MEDIUM: llama, COMPLEX: llama, REASONING: llama}}
  - model_name: auto-claude
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config:
        tiers: {{SIMPLE: opus, MEDIUM: opus, COMPLEX: opus, REASONING: opus}}
# Without a network its search for a Llama tokenizer would hold up every stream.
litellm_settings: {{disable_hf_tokenizer_download: true}}
"""


@dataclass
class System:
    """A running system and how it is asked."""

    name: str
    process: Process
    port: int
    key: str | None
    ready_s: float
    rss_at_ready_mb: float
    _asked: dict[str, Iterator[bytes]] = field(default_factory=dict, repr=False)

    def requests(self, workload: Workload) -> Iterator[bytes]:
        """What asks this system for a workload, on and on; both routers are asked for ``auto``."""
        found = self._asked.get(workload.name)
        if found is None:
            found = self._asked[workload.name] = self._requests(workload)
        return found

    def _requests(self, workload: Workload) -> Iterator[bytes]:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        model = "auto"
        if self.name.startswith("tollgate"):
            headers["x-quality-tier"] = "premium" if workload.is_claude else "economy"
        elif self.name == "litellm" and workload.is_claude:
            model = "auto-claude"
        return requests_of(workload, model, CHAT, headers)

    def does(self, workload: Workload) -> bool:
        """Whether the system can answer the workload at all: the floor translates nothing."""
        return self.name != "floor" or not workload.is_claude


def _environment(**more: str) -> dict[str, str]:
    """This shell's environment without what would make a system look worse than it is."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONUNBUFFERED": "1", **VENDOR_KEYS, **more}


@dataclass(frozen=True, slots=True)
class Place:
    """Where systems run: their core (None where they cannot be held on one), their files, the vendor's address."""

    core: int | None
    folder: Path
    vendor: str

    def start(
        self, name: str, command: list[str], port: int, ready: str, env: dict[str, str], key: str | None
    ) -> System:
        """Start a system and wait until it is ready. Raises BenchmarkError with its last words."""
        process = Process.start(name, command, core=self.core, folder=self.folder, env=env, cwd=REPO)
        try:
            ready_s = process.wait_ready(f"http://127.0.0.1:{port}{ready}", READY_S)
            return System(name, process, port, key, ready_s, process.rss_mb())
        except BaseException:
            process.stop()
            raise


PACKAGES = ("aiohttp", "fastapi", "litellm", "numpy", "orjson", "uvicorn", "uvloop")


def packages_of(python: Path) -> dict[str, str]:
    """Versions of what matters here in an interpreter's environment, by asking it."""
    script = (
        "import importlib.metadata as m, json, sys\n"
        "versions = {each.metadata['Name'].lower(): each.version for each in m.distributions()}\n"
        f"kept = {{name: versions[name] for name in {PACKAGES!r} if name in versions}}\n"
        "print(json.dumps({'python': sys.version.split()[0], **kept}))"
    )
    done = subprocess.run([str(python), "-c", script], capture_output=True, check=False, cwd=REPO)
    if done.returncode:
        raise BenchmarkError(f"{python} does not run: {done.stderr.decode()[-1000:]}")
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


@dataclass(frozen=True, slots=True)
class Switches:
    """How a gateway differs from the usual one: more lines of its policy, and another ledger."""

    more: str = ""
    ledger: str | None = None


AS_USUAL = Switches()


def start_tollgate(place: Place, workers: int = 1, *, name: str | None = None, switches: Switches = AS_USUAL) -> System:
    """The gateway: a keys file, a routed policy with contract prices, a SQLite ledger, its log in a file."""
    home = Path(tempfile.mkdtemp(prefix="tollgate-", dir=place.folder))
    policy = home / "policy.yaml"
    policy.write_text(POLICY.format(vendor=place.vendor, llama=LLAMA) + switches.more, encoding="utf-8")
    where = ["--policy", str(policy), "--home", str(home)]
    command = [sys.executable, "-m", "router.cli"]
    made = subprocess.run(
        [*command, "keys", "create", "--team", "bench", "--project", "overhead", "--tag", "app=load", *where, "--json"],
        capture_output=True,
        check=False,
        cwd=REPO,
        env=_environment(),
    )
    if made.returncode:
        raise BenchmarkError(f"tollgate keys create: {made.stderr.decode()}")
    key = json.loads(made.stdout)["key"]
    port = free_port()
    name = name or ("tollgate" if workers == 1 else f"tollgate-{workers}")
    serve = [*command, "serve", "--port", str(port), "--workers", str(workers), *where]
    env = _environment() if switches.ledger is None else _environment(TOLLGATE_LEDGER_URL=switches.ledger)
    return place.start(name, serve, port, "/readyz", env, key)


def start_litellm(place: Place, python: Path) -> System:
    """LiteLLM's proxy: one worker, no database, a master key, its complexity router as ``auto``, no log but errors."""
    config = place.folder / "litellm.yaml"
    config.write_text(PEER_CONFIG.format(vendor=place.vendor, llama=LLAMA), encoding="utf-8")
    port = free_port()
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = _environment(
        LITELLM_MASTER_KEY=PEER_KEY,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_LOG="ERROR",
        LITELLM_TELEMETRY="False",
    )
    return place.start("litellm", [*command, "--num_workers", "1"], port, "/health/readiness", env, PEER_KEY)


def start_floor(place: Place) -> System:
    """The plain proxy of ``benchmarks.floor``."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.floor", place.vendor, str(port)]
    return place.start("floor", command, port, "/readyz", _environment(), None)


def start_vendor(core: int | None, folder: Path) -> tuple[Process, str]:
    """The mock vendor; returns its address too."""
    command = [sys.executable, "-m", "benchmarks.vendor"]
    process = Process.start("vendor", command, core=core, folder=folder, env=_environment(), cwd=REPO)
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s and process.popen.poll() is None:
        address = process.last_words().strip()
        if address.startswith("http"):
            return process, address
        time.sleep(POLL_S)
    process.stop()
    raise BenchmarkError(f"the mock vendor did not start:\n{process.last_words()}")
