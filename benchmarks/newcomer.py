"""Ten minutes to a promise, as somebody new does it: a made-up workload of a new kind, from an empty start.

Contract clauses with a question each, and a rule that says which answers of the cheap models are wrong: long clauses
with an exception. Two hundred are graded, `tollgate calibrate` is run as docs/calibration.md says, and a thousand
others, answered and graded by the same rule, are sent to the running gateway before and after. Printed: seconds and
commands, and at each tolerance the promise, the share routed and the mean loss of what the gateway chose. Exit code 1
where a promise after it is not `calibrated` or is broken. The vendors are simulated; the rule knows the loss.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.record import write_result
from benchmarks.stack import GatewayProcess, simulated_policy
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse

PARTIES = ("the Supplier", "the Agent", "the Carrier", "the Licensee", "the Landlord")
DUTIES = (
    "give notice in writing",
    "keep the goods insured",
    "pay the retainer",
    "return all documents",
    "allow an audit",
)
EXCEPTIONS = (
    "save that this shall not apply where the other side has waived it under clause {n}",
    "provided always that nothing in schedule {n} limits what was accrued before",
    "unless and to the extent that clause {n} otherwise provides, notwithstanding the foregoing",
)
ASKED = "Does this bind after the end of the agreement? Answer yes or no."
TOLERANCES = (0.05, 0.1)
# How often an answer is wrong: (plain clause, clause with an exception).
WRONG = {
    "claude-opus": (0.02, 0.04),
    "claude-sonnet": (0.02, 0.10),
    "claude-haiku": (0.02, 0.30),
    "gemini-argon": (0.02, 0.08),
    "gemini-flash": (0.03, 0.35),
    "llama-maverick": (0.04, 0.40),
    "llama-70b": (0.05, 0.50),
    "llama-8b": (0.15, 0.60),
}
GRADED = ("claude-opus", "claude-haiku", "gemini-flash", "llama-70b")
WORKERS = 4
SETTLE_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--asked", type=int, default=500, help="prompts sent at each tolerance, before and after")
    parser.add_argument("--seed", type=int, default=7)


class Clauses:
    """Prompts and what each model's answer is worth, 0 or 1; the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)

    def made(self) -> tuple[str, dict[str, float]]:
        """A prompt with its scores by model."""
        chance = self._chance
        is_hard = chance.random() < 0.4  # noqa: PLR2004  # two clauses of five have an exception
        number = chance.randint(1, 900)
        text = f"{number}.{chance.randint(1, 30)} {chance.choice(PARTIES)} shall {chance.choice(DUTIES)} within "
        text += f"{chance.randint(5, 90)} days"
        if is_hard:
            text += ", " + chance.choice(EXCEPTIONS).format(n=chance.randint(1, 40))
        scores = {model: float(chance.random() >= wrong[is_hard]) for model, wrong in WRONG.items()}
        return f"{text}.\n{ASKED}", scores


def run(arguments: argparse.Namespace) -> int:
    """Before, calibrate, after; print."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-newcomer-") as folder,
        SimulatorProcess(seed=arguments.seed, speed=0) as simulator,
    ):
        policy = simulated_policy(simulator.urls)
        gateway = GatewayProcess(Path(folder) / "home", policy)
        gateway.start()
        try:
            found = newcomer(gateway, labels=arguments.labels, asked=arguments.asked, seed=arguments.seed)
        finally:
            gateway.stop()
    table = Table("tolerance", "", "promise", "routed", "mean loss", title="contract clauses", title_justify="left")
    for row in found["rows"]:
        table.add_row(
            f"{row['tolerance']:g}", row["when"], row["promise"], f"{row['routed']:.1%}", f"{row['loss']:+.4f}"
        )
    console = Console(width=100, highlight=False)
    console.print(table)
    console.print(f"calibrated by {found['labels']} graded prompts with one command in {found['seconds']:.1f} s")
    path = write_result("newcomer", sys.argv[1:] or ["newcomer"], found)
    print(f"result written to {path}")
    return 0 if found["ok"] else 1


def newcomer(gateway: GatewayProcess, *, labels: int, asked: int, seed: int) -> dict[str, Any]:
    """The whole way; the gateway runs all the while."""
    graded, others = Clauses(seed), Clauses(seed + 1)
    path = gateway.home / "contracts.jsonl"
    rows = [graded.made() for _ in range(labels)]
    lines = [{"prompt": text, "scores": {name: scores[name] for name in GRADED}} for text, scores in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    later = [others.made() for _ in range(asked)]
    found = [_sent(gateway, later, t, "before") for t in TOLERANCES]
    started_s = time.monotonic()
    options = [option for t in TOLERANCES for option in ("--tolerance", str(t))]
    where = ("--workload", "contracts", "--match", "tag:feature=contracts", "--policy", str(gateway.policy))
    done = gateway.command("calibrate", str(path), *where, *options, "--json")
    seconds = time.monotonic() - started_s
    time.sleep(SETTLE_S)  # a running gateway looks every second
    found += [_sent(gateway, later, t, "after") for t in TOLERANCES]
    after = [row for row in found if row["when"] == "after"]
    is_kept = all(row["loss"] <= row["tolerance"] and row["promise"] == "calibrated" for row in after)
    return {"rows": found, "labels": labels, "seconds": seconds, "ok": is_kept and done.returncode == 0}


def _sent(gateway: GatewayProcess, prompts: list[tuple[str, dict[str, float]]], t: float, when: str) -> dict[str, Any]:
    with ThreadPoolExecutor(WORKERS) as workers:
        chosen = list(workers.map(lambda each: _route(gateway, each[0], t), prompts))
    losses = [scores["claude-opus"] - scores[model] for (_, scores), (model, _) in zip(prompts, chosen, strict=True)]
    promises = Counter(promise for _, promise in chosen)
    return {
        "tolerance": t,
        "when": when,
        "promise": promises.most_common(1)[0][0],
        "routed": sum(model != "claude-opus" for model, _ in chosen) / len(chosen),
        "loss": sum(losses) / len(losses),
    }


def _route(gateway: GatewayProcess, prompt: str, tolerance: float) -> tuple[str, str]:
    """Who would answer, and what that rests on: the decision, without its vendor's answer."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": prompt}]}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Quality-Tolerance": f"{tolerance:g}",
        "X-Router-Tags": "feature=contracts",
    }
    request = urllib.request.Request(f"{gateway.url}/v1/route", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.loads(answer.read())
    decision = found.get("decision", found)
    return decision["model"], decision["promise"]
