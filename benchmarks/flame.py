"""Where a request's time goes in the gateway under load: a flame graph, and the share of each part of the house.

The gateway of `python -m benchmarks overhead` is driven by the same load while py-spy takes its stacks a few hundred
times a second from outside; only what held the interpreter counts, so threads that wait, and time in the kernel and in
SQLite, do not. A sample belongs to the deepest part of the house in
its stack, with what that part called. `pip install py-spy` into `.venv-bench`, or name one with --py-spy.
"""

from __future__ import annotations

import collections
import contextlib
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.load import closed_loop
from benchmarks.processes import BenchmarkError, can_pin, on_core
from benchmarks.rounds import HOST, say
from benchmarks.systems import REPO, Place, start_tollgate, start_vendor
from benchmarks.workloads import WORKLOADS, check_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

SYSTEM_CORE, LOAD_CORE = 0, 1
SECONDS, RATE, WARM_UP_S = 10, 400, 3.0
FRAME = re.compile(r"^(?P<name>.+?) \((?P<file>[^()]*?)(?::\d+)?\)$")
# What a stack has in common with all others says nothing: the picture begins where one request or thread begins.
ROOTS = ("run_asgi", "_run_until_closed", "LogSync._run", "data_received")
SMALLEST_SHARE = 0.004
LABEL_SHARE = 0.035
AREAS = {
    "router/guards": "guards",
    "router/guarding": "guards",
    "router/features": "features",
    "router/quality": "quality model",
    "router/stores": "ledger",
    "router/ledger": "ledger",
    "router/providers": "vendor call",
    "aiohttp": "vendor call",
    "router/server": "parse and render",
    "uvicorn": "HTTP server",
    "router/telemetry": "metrics and log",
    "router/decide": "decision",
    "router/decision": "decision",
    "router/promise": "decision",
    "router/eligibility": "decision",
    "router/prompt": "decision",
    "router/context": "decision",
    "router/chunks": "decision",
}
OTHER = "gateway, holds, settlement"
COLOURS = {
    "guards": "#b4532a",
    "features": "#0b6e5f",
    "quality model": "#5b9f93",
    "decision": "#9cc7bf",
    "ledger": "#3d5a80",
    "vendor call": "#c39a52",
    "parse and render": "#8a6d3b",
    "HTTP server": "#d9b779",
    "metrics and log": "#7a6f9b",
    OTHER: "#cfcac2",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--workload", default="plain", choices=[each.name for each in WORKLOADS], help="the load (plain)"
    )
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"seconds of sampling ({SECONDS})")
    parser.add_argument("--rate", type=int, default=RATE, help=f"samples a second ({RATE})")
    parser.add_argument(
        "--stacks", type=Path, metavar="FILE", help="draw these stacks, as py-spy's raw format has them"
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the stacks to this file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the picture here, .svg or .png")
    parser.add_argument(
        "--py-spy", type=Path, metavar="PROGRAM", help="the sampler (beside .venv-bench's Python, or on PATH)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Sample, print the shares, draw; 2 without a sampler."""
    if arguments.stacks is not None:
        text = arguments.stacks.read_text(encoding="utf-8")
    else:
        sampler = sampler_of(arguments.py_spy)
        if sampler is None:
            say("py-spy is not there: install it into .venv-bench, or name it with --py-spy")
            return 2
        try:
            text = sampled(sampler, arguments.workload, arguments.seconds, arguments.rate)
        except BenchmarkError as error:
            say(f"the run does not count: {error}")
            return 1
    if arguments.keep is not None:
        arguments.keep.write_text(text, encoding="utf-8")
    stacks = stacks_of(text.splitlines())
    if not stacks:
        say("no stack was seen running")
        return 1
    total = sum(count for _, count in stacks)
    for area, share in shares_of(stacks):
        print(f"{share:6.1%}  {area}")
    print(f"{total} samples")
    if arguments.out is not None:
        draw(stacks, arguments.out)
        say(f"written to {arguments.out}")
    return 0


def sampler_of(named: Path | None) -> Path | None:
    """The sampler that was named, or the first that is there."""
    if named is not None:
        return named if named.exists() else None
    beside = REPO / ".venv-bench" / "bin" / "py-spy"
    found = shutil.which("py-spy")
    return beside if beside.exists() else Path(found) if found else None


def sampled(sampler: Path, workload_name: str, seconds: int, rate: int) -> str:
    """The stacks of a gateway under load, in py-spy's raw format. Raises BenchmarkError."""
    workload = next(each for each in WORKLOADS if each.name == workload_name)
    core, load_core = (SYSTEM_CORE, LOAD_CORE) if can_pin() else (None, None)
    with tempfile.TemporaryDirectory(prefix="tollgate-flame-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        vendor, url = start_vendor(load_core, folder)
        stack.callback(vendor.stop)
        gateway = start_tollgate(Place(core, folder, url))
        stack.callback(gateway.process.stop)
        requests, check = gateway.requests(workload), check_of(workload)

        def drive() -> None:
            with on_core(load_core):
                load_s = WARM_UP_S + seconds + 1
                uvloop.run(
                    closed_loop(HOST, gateway.port, requests, check, connections=workload.connections, seconds=load_s)
                )

        driver = threading.Thread(target=drive)
        driver.start()
        out = folder / "stacks.txt"
        threading.Event().wait(WARM_UP_S)
        command = [str(sampler), "record", "--pid", str(gateway.process.popen.pid), "--duration", str(seconds)]
        command += ["--rate", str(rate), "--format", "raw", "--function", "--gil", "--output", str(out)]
        done = subprocess.run(command, capture_output=True, check=False)
        driver.join()
        if done.returncode or not out.exists():
            raise BenchmarkError(f"py-spy: {done.stderr.decode()[-1000:]}")
        return out.read_text(encoding="utf-8")


def stacks_of(lines: Iterable[str]) -> list[tuple[tuple[str, ...], int]]:
    """Each stack from where a request or a thread begins, as ``name (file)``, and how often it was seen."""
    counts: collections.Counter[tuple[str, ...]] = collections.Counter()
    for line in lines:
        text, _, count = line.rpartition(" ")
        if not count.isdigit():
            continue
        frames = [frame for frame in text.split(";") if FRAME.match(frame)]
        start = next((at for at, frame in enumerate(frames) if any(root in frame for root in ROOTS)), None)
        kept = frames[start:] if start is not None else frames[-3:]
        if kept:
            counts[tuple(re.sub(r":\d+\)$", ")", frame) for frame in kept)] += int(count)
    return sorted(counts.items())


def area_of(stack: Sequence[str]) -> str:
    """The part of the house that the deepest frame of a known part belongs to."""
    for frame in reversed(stack):
        match = FRAME.match(frame)
        file = match["file"] if match else ""
        for prefix, area in AREAS.items():
            if file.startswith((f"{prefix}/", f"{prefix}.")):
                return area
        if file.startswith("router/"):
            break
    return OTHER


def shares_of(stacks: Sequence[tuple[tuple[str, ...], int]]) -> list[tuple[str, float]]:
    """The share of samples of each part, the largest first."""
    counts: collections.Counter[str] = collections.Counter()
    for stack, count in stacks:
        counts[area_of(stack)] += count
    total = counts.total()
    return [(area, count / total) for area, count in counts.most_common()]


@dataclass
class Frame:
    """One frame of the merged stacks: how many samples run through it, and what it called."""

    samples: int = 0
    called: dict[str, Frame] = field(default_factory=dict)


def merged(stacks: Sequence[tuple[tuple[str, ...], int]]) -> Frame:
    """All stacks as one tree."""
    root = Frame()
    for stack, count in stacks:
        root.samples += count
        at = root
        for name in stack:
            at = at.called.setdefault(name, Frame())
            at.samples += count
    return root


def bars_of(root: Frame) -> list[tuple[int, float, float, str, str]]:
    """Each frame that is drawn: depth, left end and width as shares, its name, and its area; wide ones first."""
    found: list[tuple[int, float, float, str, str]] = []

    def lay(frame: Frame, depth: int, left: float, above: tuple[str, ...]) -> None:
        for name, each in sorted(frame.called.items(), key=lambda item: -item[1].samples):
            width = each.samples / root.samples
            if width < SMALLEST_SHARE:
                break
            stack = (*above, name)
            found.append((depth, left, width, name, area_of(stack)))
            lay(each, depth + 1, left, stack)
            left += width

    lay(root, 0, 0.0, ())
    return found


def draw(stacks: Sequence[tuple[tuple[str, ...], int]], out: Path) -> None:
    """Write the picture: each bar is a function, as wide as the share of samples that ran through it, callers below."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    bars = bars_of(merged(stacks))
    deepest = max(depth for depth, *_ in bars)
    style: Any = {"svg.hashsalt": "tollgate", "font.size": 7}
    with rc_context(style):
        figure = Figure(figsize=(13, 1.4 + 0.21 * (deepest + 1)), layout="constrained", facecolor="white")
        axes = figure.subplots()
        for depth, left, width, name, area in bars:
            axes.barh(depth, width, left=left, height=0.94, color=COLOURS[area], edgecolor="white", linewidth=0.4)
            if width >= LABEL_SHARE:
                axes.text(left + 0.002, depth, label_of(name, width), va="center", ha="left", clip_on=True)
        shares: Mapping[str, float] = dict(shares_of(stacks))
        handles = [axes.barh(0, 0, color=COLOURS[area], label=f"{area} {share:.0%}") for area, share in shares.items()]
        axes.legend(handles=handles, ncols=5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.0))
        axes.set_xlim(0, 1)
        axes.axis("off")
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else {}, dpi=150)


def label_of(name: str, width: float) -> str:
    """As much of a function's name as its bar has room for."""
    match = FRAME.match(name)
    short = match["name"] if match else name
    room = int(width * 190)
    return short if len(short) <= room else short[: max(room - 1, 1)] + "\u2026"
