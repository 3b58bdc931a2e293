"""`python -m evals report`: what the shipped model reaches on the test split, beside baselines that are really run."""

from __future__ import annotations

import json
import time
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.attack import attacks
from evals.baselines import litellm_scores
from evals.curves import aiq_row, portfolio_of, tolerance_rows
from evals.dataset import load_dataset, shared_data_path
from evals.judge import tables_of, verdicts_of
from evals.leftout import left_out
from evals.pictures import draw
from evals.prepare import prepare
from evals.prices import PORTFOLIOS
from evals.recipe import CHOSEN
from evals.reliability import calibration_rows, pair_tolerance_rows, steadiness
from evals.tables import show
from evals.train import sayer, splits_sha256
from router.features import PromptView, features_of
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel

MODELS_TIMED: Final = 8
SIZES_TIMED: Final = {"200 tokens": 800, "2k tokens": 8_000, "40k tokens": 160_000}
ROUNDS_TIMED: Final = 500


def speeds_of(model: QualityModel) -> dict[str, float]:
    """Median microseconds of features and scores for eight models, by the prompt's length."""
    names = model.names[:MODELS_TIMED]
    words = list(resources.files("router.features").joinpath("lexicon.py").read_text(encoding="utf-8").split())
    rng = np.random.default_rng(0)
    found = {}
    for size, n_bytes in SIZES_TIMED.items():
        text = " ".join(rng.choice(words, n_bytes // 3)).encode()[:n_bytes]
        taken = []
        for _ in range(ROUNDS_TIMED):
            started = time.perf_counter()
            model.score(features_of(PromptView(question=text)), names)
            taken.append(time.perf_counter() - started)
        found[size] = round(float(np.median(taken)) * 1e6, 1)
    return found


def report_on(
    prepared: Prepared,
    model: QualityModel,
    *,
    is_left_out: bool = False,
    rounds: int = 200,
    cache: Path | None = None,
    figures: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Every table, as JSON would hold it."""
    dataset = prepared.dataset
    is_test = dataset.splits == "test"
    known = dataset.splits == "train"
    litellm = litellm_scores(dataset, np.flatnonzero(is_test))
    say("LiteLLM's complexity router on the test split")
    verdicts = verdicts_of(prepared, model, is_test, litellm, known=known, rounds=rounds)
    say("pairs judged")
    portfolios = [portfolio_of(prepared, model, source, is_test, known) for source in PORTFOLIOS]
    sound = [each for each in portfolios if each is not None]
    found = {
        "model_revision": model.revision,
        "data_sha256": dataset.data_sha256,
        "splits_sha256": splits_sha256(dataset),
        "splits": {name: int((dataset.splits == name).sum()) for name in ("train", "calibration", "test")},
        "pairs": tables_of(verdicts),
        "aiq": {each.source: aiq_row(each, rounds=rounds // 2) for each in sound},
        "tolerance": {
            **{f"portfolio of {each.source}": tolerance_rows(each) for each in sound},
            **pair_tolerance_rows(prepared, model, is_test),
        },
        "calibration": calibration_rows(prepared, model, is_test),
        "steadiness": steadiness(prepared, model, is_test),
        "attacks": attacks(prepared, model, is_test),
        "microseconds": speeds_of(model),
        "artifact_bytes": len(resources.files("router.artifacts").joinpath("quality.npz").read_bytes()),
    }
    say("curves, tolerance, calibration, steadiness and attacks")
    if is_left_out:
        found["left_out"] = left_out(prepared, CHOSEN, litellm, cache=cache, figures=figures, say=say, rounds=rounds)
    return found


def report(*, out: Path | None, is_left_out: bool = False, pictures: Path | None = None) -> dict[str, Any]:
    """Judge, print the tables, and write JSON and pictures where asked."""
    folder = shared_data_path()
    prepared = prepare(load_dataset())
    found = report_on(prepared, load_quality_model(), is_left_out=is_left_out, figures=folder, say=sayer())
    show(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if pictures is not None:
        draw_on(prepared, load_quality_model(), pictures)
    return found


def draw_on(prepared: Prepared, model: QualityModel, folder: Path) -> None:
    """The pictures of the model on the test split, into a folder."""
    is_test = prepared.dataset.splits == "test"
    draw(prepared, model, is_test, litellm_scores(prepared.dataset, np.flatnonzero(is_test)), folder)
