"""Result files: figures beside the machine, the revision and the command that gave them."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPO = Path(__file__).resolve().parent.parent
RESULTS = REPO / "benchmarks" / "results"


def machine() -> dict[str, object]:
    """What the figures depend on: processor, cores that this process may use, memory, system, Python."""
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    memory = re.search(r"MemTotal:\s*(\d+)", meminfo.read_text()) if meminfo.is_file() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": cores,
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def revision() -> dict[str, object]:
    """The commit, and the product's files that differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=REPO, capture_output=True, check=False, text=True)
        return done.stdout

    changed = [line[3:] for line in git("status", "--porcelain", "--", "router", "policies", "benchmarks").splitlines()]
    own = [path for path in changed if not path.startswith("benchmarks/results/")]
    return {"commit": git("rev-parse", "HEAD").strip() or None, "changed": own}


def header() -> dict[str, object]:
    """What must stand beside any figure, as it is when a run begins."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "started": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "machine": {**machine(), "load_average_at_start": [round(each, 2) for each in os.getloadavg()]},
    }


def write_result(name: str, command: Sequence[str], figures: Mapping[str, object]) -> Path:
    """Write ``benchmarks/results/<name>.json``; returns its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    result = {
        "command": shlex.join(["python", "-m", "benchmarks", *command]),
        "finished": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "machine": machine(),
        **figures,
    }
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path
