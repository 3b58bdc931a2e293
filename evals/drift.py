"""`python -m evals drift`: does the gateway notice that a workload's prompts are no longer the graded ones?

A workload is a category of a source. So many of its prompts count as graded; then so many others come in: of the same
category (an alarm is false), half and wholly of three other categories (it is due). Only how complex prompts are is
read, no outcome, of all splits: the model does not learn complexity by heart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evals.dataset import load_dataset
from router.calibration import Calibration, Match
from router.drift import cuts_of, drift_of
from router.features import features_of
from router.quality import load_quality_model

if TYPE_CHECKING:
    from pathlib import Path

GRADED: Final = 200
COMING: Final = (200, 500)
DRAWS: Final = 20
SHARES: Final = {"same": 0.0, "half": 0.5, "others": 1.0}


def alarm_share(mine: Any, others: Any, coming: int, share: float, draws: int, seed: int) -> float:
    """The share of draws that alarm, where ``share`` of the ``coming`` prompts are of ``others``; complexities in."""
    random = np.random.default_rng(seed)
    alarms = 0
    for _ in range(draws):
        order = random.permutation(mine)
        graded, rest = order[:GRADED], order[GRADED:]
        foreign = random.choice(others, round(coming * share), replace=len(others) < coming)
        own = random.choice(rest, coming - len(foreign), replace=False)
        drift = drift_of(np.concatenate([own, foreign]).tolist(), _calibration(graded))
        assert drift is not None, "enough prompts came in"
        alarms += drift.is_over
    return alarms / draws


def _calibration(graded: Any) -> Calibration:
    return Calibration(
        name="graded",
        version=1,
        match=Match("all"),
        quality_revision="",
        premium="",
        shifts={},
        thresholds={},
        labels=len(graded),
        support_floor=0.0,
        complexity_cuts=cuts_of(graded),
    )


def workloads_of(categories: Any, complexity: Any, least: int) -> dict[str, Any]:
    """Complexities (n) of each category that has prompts enough."""
    names, counts = np.unique(categories, return_counts=True)
    return {str(name): complexity[categories == name] for name in names[counts >= least]}


def measure(workloads: dict[str, Any], draws: int) -> dict[str, Any]:
    """The share of alarms by how many prompts came in and what share of them is of another workload.

    A workload without so many prompts beside the graded ones is left out of that row.
    """
    found: dict[str, dict[str, list[float]]] = {str(coming): {name: [] for name in SHARES} for coming in COMING}
    names = sorted(workloads)
    judged = dict.fromkeys(map(str, COMING), 0)
    for coming in COMING:
        for at, name in enumerate(names):
            mine = workloads[name]
            if len(mine) < GRADED + coming:
                continue
            judged[str(coming)] += 1
            for step in sorted({1, len(names) // 3, len(names) // 2}):
                other = workloads[names[(at + step) % len(names)]]
                for what, share in SHARES.items():
                    seed = at * 1_000 + step
                    found[str(coming)][what].append(alarm_share(mine, other, coming, share, draws, seed))
    return {
        "workloads": judged,
        "alarms": {
            coming: {what: round(float(np.mean(shares)), 4) for what, shares in row.items()}
            for coming, row in found.items()
        },
    }


def drift(*, out: Path | None, draws: int = DRAWS) -> dict[str, Any]:
    """Score, draw, print and write. Raises FileNotFoundError without the shared outcomes."""
    model = load_quality_model()
    dataset = load_dataset()
    console = Console(stderr=True)
    complexity = np.array(
        [
            model.score(features_of(prompt.view), ()).complexity
            for prompt in track(dataset.prompts, "score", console=console, transient=True)
        ]
    )
    found = measure(workloads_of(dataset.categories, complexity, GRADED + min(COMING)), draws)
    found |= {"model_revision": model.revision, "data_sha256": dataset.data_sha256, "graded": GRADED, "draws": draws}
    table = Table(title=f"alarms, {GRADED} graded prompts of each workload")
    for column in ("workloads", "prompts that came in", "of the same workload", "half of another", "all of another"):
        table.add_column(column)
    for coming, row in found["alarms"].items():
        table.add_row(str(found["workloads"][coming]), coming, *(f"{row[what]:.1%}" for what in SHARES))
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found
