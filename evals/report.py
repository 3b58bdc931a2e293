"""`python -m evals report`: what the shipped model reaches on the test split, beside baselines that were really run."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.batch import batch_of
from evals.calibrate import upper_bound
from evals.dataset import load_dataset
from evals.metrics import apgr, auc_within, bootstrap_interval
from evals.pairs import PAIRS, rows_of
from evals.prepare import prepare
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel

TOLERANCES = (0.01, 0.02, 0.05, 0.10)
BOOTSTRAP_ROUNDS = 200


def litellm_scorers() -> dict[str, Callable[[str], float]]:
    """LiteLLM's complexity router in both forms, the installed code itself: the higher, the harder."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = litellm.Router(  # type: ignore[attr-defined]
        model_list=[{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}]
    )
    tiers = dict.fromkeys(("SIMPLE", "MEDIUM", "COMPLEX", "REASONING"), "m")
    first = ComplexityRouter("auto", router, complexity_router_config={"tiers": tiers}, default_model="m")
    second = ComplexityRouter(
        "auto", router, complexity_router_config={"tiers": tiers, "classifier_type": "heuristic_v2"}, default_model="m"
    )

    def v2(text: str) -> float:
        forecast: Any = second._classify_with_heuristic_v2(text).heuristic_v2_forecast  # noqa: SLF001  # no public door
        return -float(forecast["probabilities"]["SIMPLE"])

    return {"LiteLLM heuristic": lambda text: float(first.classify(text)[1]), "LiteLLM heuristic_v2": v2}


def category_prior(prepared: Prepared, rows: Any, gain: Any, train: Any) -> dict[str, float]:
    """Mean gain of the strong model by category on the training split."""
    categories = prepared.dataset.categories
    inside = train[rows]
    return {name: float(gain[inside & (categories[rows] == name)].mean()) for name in set(categories[rows][inside])}


def apgr_of(score: Any, strong: Any, weak: Any, at: Any) -> float:
    """APGR on a resample."""
    return apgr(score[at], strong[at], weak[at])


def judge(prepared: Prepared, model: QualityModel, scorers: dict[str, Callable[[str], float]]) -> list[dict[str, Any]]:
    """One row a pair and method: APGR with its 95 % bootstrap interval over groups of twins, AUC within category."""
    dataset = prepared.dataset
    is_test, is_train = dataset.splits == "test", dataset.splits == "train"
    found: list[dict[str, Any]] = []
    for pair in PAIRS:
        every = rows_of(pair, dataset)
        gain = dataset.column(pair.source, pair.strong)[every] - dataset.column(pair.source, pair.weak)[every]
        prior = category_prior(prepared, every, gain, is_train)
        rows = every[is_test[every]]
        strong = dataset.column(pair.source, pair.strong)[rows]
        weak = dataset.column(pair.source, pair.weak)[rows]
        texts = [dataset.prompts[row].view.question.decode("utf-8", "replace") for row in rows]
        quality = batch_of(model, [prepared.bare[row] for row in rows]).quality((pair.strong, pair.weak))
        methods = {
            "random": np.random.default_rng(0).random(len(rows)),
            "prompt length": np.array([float(len(text)) for text in texts]),
            "category prior": np.array([prior.get(name, 0.0) for name in dataset.categories[rows]]),
            **{name: np.array([score(text) for text in texts]) for name, score in scorers.items()},
            "ours": quality[:, 0] - quality[:, 1],
            "oracle": strong - weak,
        }
        for name, score in methods.items():
            low, high = bootstrap_interval(
                partial(apgr_of, score, strong, weak), dataset.groups[rows], rounds=BOOTSTRAP_ROUNDS
            )
            found.append(
                {
                    "pair": pair.group,
                    "method": name,
                    "prompts": len(rows),
                    "apgr": apgr(score, strong, weak),
                    "low": low,
                    "high": high,
                    "auc_within": auc_within(-score, weak >= strong, dataset.categories[rows]),
                }
            )
        print(f"judged {pair.group}", file=sys.stderr, flush=True)
    return found


def tolerance_rows(prepared: Prepared, model: QualityModel) -> list[dict[str, Any]]:
    """Realised loss at each tolerance on the test split, by pair: kept when its 95 % upper bound is within."""
    dataset = prepared.dataset
    is_test = dataset.splits == "test"
    found: list[dict[str, Any]] = []
    for pair in PAIRS:
        rows = rows_of(pair, dataset)
        rows = rows[is_test[rows]]
        batch = batch_of(model, [prepared.bare[row] for row in rows])
        quality = batch.quality((pair.strong, pair.weak))
        realised = dataset.column(pair.source, pair.strong)[rows] - dataset.column(pair.source, pair.weak)[rows]
        for tolerance in TOLERANCES:
            routed = quality[:, 0] - quality[:, 1] <= batch.thresholds(tolerance)
            losses = np.where(routed, realised, 0.0)
            found.append(
                {
                    "pair": pair.group,
                    "tolerance": tolerance,
                    "share_weak": float(routed.mean()),
                    "loss": float(losses.mean()),
                    "upper": upper_bound(losses, dataset.groups[rows]),
                }
            )
    return found


def speeds(model: QualityModel) -> dict[str, float]:
    """Median microseconds of features and scores for eight models, by the prompt's bytes."""
    from router.features import PromptView, features_of

    keys = tuple(model.names[:8])
    found = {}
    for size in (800, 8_000, 160_000):
        text = (b"Explain how the integral of x squared relates to a sum of squares in Python code. " * 2_000)[:size]
        taken = []
        for _ in range(200):
            started = time.perf_counter()
            model.score(features_of(PromptView(question=text)), keys)
            taken.append(time.perf_counter() - started)
        found[str(size)] = round(float(np.median(taken)) * 1e6, 1)
    return found


def report(*, out: Path | None) -> dict[str, Any]:
    """Judge, print the tables, and write JSON where asked."""
    dataset = load_dataset()
    prepared = prepare(dataset)
    model = load_quality_model()
    rows = judge(prepared, model, litellm_scorers())
    kept = tolerance_rows(prepared, model)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    means = {name: float(np.mean([row["apgr"] for row in rows if row["method"] == name])) for name in methods}
    found = {
        "model_revision": model.revision,
        "data_sha256": dataset.data_sha256,
        "splits_sha256": hashlib.sha256("".join(dataset.splits).encode()).hexdigest(),
        "mean_apgr": means,
        "pairs": rows,
        "tolerance": kept,
        "microseconds": speeds(model),
    }
    show(found, methods)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2))
    return found


def show(found: dict[str, Any], methods: list[str]) -> None:
    """The tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=200)
    table = Table(title=f"APGR on the test split (95 % bootstrap), model {found['model_revision']}")
    table.add_column("pair (prompts)")
    for name in methods:
        table.add_column(name, justify="right")
    for pair in dict.fromkeys(row["pair"] for row in found["pairs"]):
        mine = {row["method"]: row for row in found["pairs"] if row["pair"] == pair}
        cells = [f"{mine[name]['apgr']:.3f} ({mine[name]['low']:.2f}..{mine[name]['high']:.2f})" for name in methods]
        table.add_row(f"{pair} ({mine['ours']['prompts']})", *cells)
    table.add_row("mean", *(f"{found['mean_apgr'][name]:.3f}" for name in methods))
    console.print(table)
    kept = Table(title="tolerance on the test split: share to the weak model, realised loss, 95 % upper bound")
    for column in ("pair", *(f"t = {each}" for each in TOLERANCES)):
        kept.add_column(column)
    for pair in dict.fromkeys(row["pair"] for row in found["tolerance"]):
        mine_rows = [row for row in found["tolerance"] if row["pair"] == pair]
        kept.add_row(
            pair,
            *(
                f"{row['share_weak']:.0%}, {row['loss']:.3f}, {row['upper']:.3f}"
                + ("" if row["upper"] <= row["tolerance"] else " over")
                for row in mine_rows
            ),
        )
    console.print(kept)
    console.print(f"microseconds by bytes of prompt: {found['microseconds']}")
