"""A whole gateway with simulated vendors, each in a process of its own, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from benchmarks.processes import BenchmarkError, free_port
from router.config.hosts import HOSTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.simulator import SimulatorProcess, SimulatorUrls

REPO = Path(__file__).resolve().parent.parent
DEFAULT_POLICY = REPO / "policies" / "default.yaml"
START_S = 60.0
STOP_S = 40.0
VENDOR_KEYS = {name: "sk-simulated" for host in HOSTS.values() for name in host.key_names}


def simulated_policy(
    urls: SimulatorUrls, path: Path = DEFAULT_POLICY, **blocks: Mapping[str, object] | list[object]
) -> str:
    """A shipped policy whose models are all reached at the simulator.

    ``blocks`` add to its top-level blocks, or replace those that are lists.
    """
    yaml = YAML()  # keeps the order: that of the tiers has a meaning
    policy = yaml.load(path.read_text(encoding="utf-8"))
    for model in policy["models"].values():
        provider = model["provider_model"].split("/", 1)[0]
        model["api_base"] = {"anthropic": urls.anthropic, "gemini": urls.gemini}.get(provider) or urls.host(provider)
    for name, block in blocks.items():
        policy[name] = block if isinstance(block, list) else {**policy.get(name, {}), **block}
    out = io.StringIO()
    yaml.dump(policy, out)
    return out.getvalue()


def clean_environment(**more: str) -> dict[str, str]:
    """This shell's environment without Tollgate's own settings, with a key for every vendor."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOLLGATE_", "REDIS_URL"))}
    return {**kept, **VENDOR_KEYS, "PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1", **more}


@dataclass
class GatewayProcess:
    """`tollgate serve` in a process of its own; it may be started again, on the same port and home."""

    home: Path
    policy_text: str
    ledger_url: str | None = None
    redis_url: str | None = None
    port: int = field(default_factory=free_port)
    workers: int = 1
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def policy(self) -> Path:
        """The policy's file."""
        return self.home / "policy.yaml"

    @property
    def log(self) -> Path:
        """What the gateway wrote to standard output and error."""
        return self.home / "gateway.log"

    @property
    def environment(self) -> dict[str, str]:
        """What the gateway and its command line are started with."""
        urls = {"TOLLGATE_LEDGER_URL": self.ledger_url, "REDIS_URL": self.redis_url}
        return clean_environment(**{name: url for name, url in urls.items() if url})

    def start(self) -> None:
        """Start and wait until it answers. Raises BenchmarkError with its log."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.policy.write_text(self.policy_text, encoding="utf-8")
        where = ["--port", str(self.port), "--policy", str(self.policy), "--home", str(self.home)]
        where += ["--workers", str(self.workers)] if self.workers > 1 else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "router.cli", "serve", *where],
                cwd=REPO,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                return
            time.sleep(0.02)
        self.kill()
        raise BenchmarkError(f"the gateway did not start:\n{self.log.read_text(encoding='utf-8')[-3000:]}")

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def rss_mib(self) -> float:
        """Resident memory of the process in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s*(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run `tollgate WORDS --home HOME` beside the gateway's ledger."""
        return self.plain(*words, "--home", str(self.home))

    def plain(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run `tollgate WORDS` as they are."""
        line = [sys.executable, "-m", "router.cli", *words]
        return subprocess.run(line, cwd=REPO, env=self.environment, check=False, capture_output=True)

    def read(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        """`GET` a path of the gateway as JSON."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.loads(answer.read())


def vendor_addresses(simulator: SimulatorProcess) -> tuple[str, str, str]:
    """Where the three simulated servers have their own `/_simulator` routes."""
    urls = simulator.urls
    return urls.anthropic, urls.gemini, urls.openai.removesuffix("/v1")


def bill_of(simulator: SimulatorProcess) -> list[dict[str, Any]]:
    """Every line of the three vendors' bills."""
    lines: list[dict[str, Any]] = []
    for base in vendor_addresses(simulator):
        with urllib.request.urlopen(f"{base}/_simulator/bill") as answer:
            lines += [json.loads(line) for line in answer.read().splitlines() if line]
    return lines


def unbilled_of(simulator: SimulatorProcess) -> dict[str, int]:
    """How many calls the vendors did not bill, by fault or status."""
    found: dict[str, int] = {}
    for base in vendor_addresses(simulator):
        with urllib.request.urlopen(f"{base}/_simulator/summary") as answer:
            for name, count in json.loads(answer.read())["unbilled"].items():
                found[name] = found.get(name, 0) + count
    return found


def order_faults(simulator: SimulatorProcess, rules: list[dict[str, object]]) -> None:
    """Order the faults from all three vendors."""
    for base in vendor_addresses(simulator):
        for rule in rules:
            request = urllib.request.Request(f"{base}/_simulator/faults", json.dumps(rule).encode())
            with urllib.request.urlopen(request) as answer:
                assert answer.status == 201  # noqa: PLR2004 - created


def faults_fired(simulator: SimulatorProcess) -> dict[str, int]:
    """How often each ordered fault has struck."""
    fired: dict[str, int] = {}
    for base in vendor_addresses(simulator):
        with urllib.request.urlopen(f"{base}/_simulator/faults") as answer:
            for rule in json.loads(answer.read()):
                fired[rule["fault"]] = fired.get(rule["fault"], 0) + rule["fired"]
    return fired
