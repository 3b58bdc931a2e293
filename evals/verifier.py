"""`python -m evals verifier`: how often chance alone puts a cascade's verifier in force, and how soon real signs do.

Nothing in the shared outcomes holds the texts of graded answers, so answers are made up: marks as answers bear them,
expected qualities, and labels that follow from both. Where marks tell nothing, none should come into force; where
they tell (`TELLING`, in log-odds a mark), it should, and fail bad answers rather than good ones.

What the outcomes do hold of real graded answers is how long they are: `by_length` says what that one mark is worth.
"""

from __future__ import annotations

import json
from math import exp, log
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evals.dataset import load_dataset
from evals.metrics import auc
from router.answer_marks import (
    BYTES_A_TOKEN,
    LENGTH_FLOOR_TOKENS,
    LENGTH_SCALE,
    MARK_MAX,
    MARK_NAMES,
    PRESENT,
    SHORT_CHARS,
)
from router.features import features_of
from router.feedback import OWN_WEIGHT, VOICE_WEIGHT
from router.quality import load_quality_model
from router.verifier import BAD_BELOW, Lesson, fitted, odds_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evals.dataset import Dataset
    from router.quality import QualityModel

DRAWS: Final = 200
LOOKS: Final = tuple(range(50, 501, 25))
SHOWN: Final = (75, 150, 300, 500)
KEYS: Final = {"shared by 40 keys": 40, "a key's own": 1}
TELLING: Final = {"cut_off": -1.2, "mid_sentence": -0.6, "hedging": -0.8}
JUDGED: Final = 500
CHANCE_MIN: Final = 0.5
SOURCES: Final = ("zeroeval", "mmlu_pro")
TAUGHT: Final = (150, 300)
LABELLED_MIN: Final = 600
"""Graded answers that a model needs outside the training split to be a workload of its own."""


def drawn_marks(random: Any) -> tuple[float, ...]:
    """Marks as answers bear them: a few numbers about 0, and signs that are there now and then."""
    found = {
        "length": float(np.clip(random.normal(-0.3, 0.7), -3, 3)),
        "very_short": 2 * float(random.random()) * (random.random() < 0.2),
        "hedging": min(3.0, float(random.exponential(0.3))),
        "mid_sentence": 2.0 * (random.random() < 0.15),
        "asks_back": 2.0 * (random.random() < 0.08),
        "echo": float(np.clip(random.normal(0, 0.8), -1.6, 2.4)),
        "digits": min(3.0, float(random.exponential(0.3))),
        "other_script": 3.0 * (random.random() < 0.03),
        "cut_off": 2.0 * (random.random() < 0.15),
    }
    return tuple(found.get(name, 0.0) for name in MARK_NAMES)


def drawn(
    seed: int, count: int, effects: Mapping[str, float], *, keys: int = 40, weight: float | None = None
) -> list[Lesson]:
    """Labels of made-up answers; ``effects`` are what marks do to the log-odds.

    Each weighs ``weight``, else what is left of it within the cap of its key.
    """
    random = np.random.default_rng(seed)
    most = OWN_WEIGHT if keys == 1 else VOICE_WEIGHT
    each = min(1.0, most * keys / count) if weight is None else weight
    found = []
    for number in range(count):
        marks = drawn_marks(random)
        odds = odds_of(float(np.clip(random.normal(0.75, 0.1), 0.3, 0.98)))
        true = odds + sum(effects.get(name, 0.0) * mark for name, mark in zip(MARK_NAMES, marks, strict=True))
        score = float(random.random() < 1 / (1 + exp(-true)))
        found.append(Lesson(odds, score, each, marks, f"k{random.integers(keys)}", f"{seed}-{number}"))
    return found


def looked_at(seed: int, keys: int, effects: Mapping[str, float]) -> dict[int, bool]:
    """Whether it is in force, by how many labels have come in."""
    lessons = drawn(seed, max(LOOKS), effects, keys=keys)
    most = OWN_WEIGHT if keys == 1 else VOICE_WEIGHT
    return {
        count: fitted(
            [each._replace(weight=min(1.0, most * keys / count)) for each in lessons[:count]], is_own=keys == 1
        ).is_in_force
        for count in LOOKS
    }


def failed_shares(seed: int, count: int, keys: int) -> tuple[float, float] | None:
    """The shares of bad and of good answers that it fails, of ones it has not seen; None where it is not in force."""
    verifier = fitted(drawn(seed, count, TELLING, keys=keys), is_own=keys == 1)
    if not verifier.is_in_force:
        return None
    judge = verifier._replace(chance_min=CHANCE_MIN)
    coming = drawn(seed + 1_000_000, JUDGED, TELLING)
    failed = np.array([judge.doubts(1 / (1 + exp(-each.odds)), each.marks) for each in coming])
    bad = np.array([each.score < 0.5 for each in coming])
    return float(failed[bad].mean()), float(failed[~bad].mean())


def measure(draws: int) -> dict[str, Any]:
    """Shares of draws in force, at each look and ever, and what it fails where marks tell."""
    found: dict[str, Any] = {}
    console = Console(stderr=True)
    for name, keys in KEYS.items():
        seeds = track(range(draws), name, console=console, transient=True)
        by_chance = [looked_at(seed, keys, {}) for seed in seeds]
        telling = [looked_at(seed, keys, TELLING) for seed in range(max(1, draws // 4))]
        rows: dict[str, dict[str, float | None]] = {}
        for count in SHOWN:
            shares = [each for seed in range(max(1, draws // 4)) if (each := failed_shares(seed, count, keys))]
            rows[str(count)] = {
                "by_chance": _share([each[count] for each in by_chance]),
                "by_chance_ever": _share([any(each[look] for look in LOOKS if look <= count) for each in by_chance]),
                "telling": _share([each[count] for each in telling]),
                "bad_failed": round(float(np.mean([bad for bad, _ in shares])), 4) if shares else None,
                "good_failed": round(float(np.mean([good for _, good in shares])), 4) if shares else None,
            }
        found[name] = rows
    return found


def length_marks(chars: float, expected_tokens: float) -> tuple[float, ...]:
    """The marks of an answer of which nothing is known but its length in characters."""
    written = chars / BYTES_A_TOKEN + LENGTH_FLOOR_TOKENS
    length = LENGTH_SCALE * log(written / (expected_tokens + LENGTH_FLOOR_TOKENS))
    found = {
        "length": min(max(length, -MARK_MAX), MARK_MAX),
        "very_short": PRESENT * max(0.0, 1 - chars / SHORT_CHARS),
    }
    return tuple(found.get(name, 0.0) for name in MARK_NAMES)


def by_length(dataset: Dataset, model: QualityModel, draws: int) -> dict[str, Any]:
    """What length is worth on real answers: by source and labels, the share in force and AUC of good, both ways.

    A workload is one model's answers to a source's prompts outside the training split, labels are its scores, 40 keys
    give them; judged on the answers that were not labelled.
    """
    found: dict[str, Any] = {}
    for source in SOURCES:
        rows = np.flatnonzero((dataset.sources == source) & (dataset.splits != "train"))
        columns = [at for at, (where, _) in enumerate(dataset.columns) if where == source]
        names = tuple(dataset.columns[at][1] for at in columns)
        scored = [model.score(features_of(dataset.prompts[row].view), names) for row in rows]
        verdicts: dict[int, list[tuple[bool, float, float]]] = {count: [] for count in TAUGHT}
        workloads = 0
        for at, column in enumerate(columns):
            score, chars = dataset.scores[rows, column], dataset.response_chars[rows, column]
            known = np.flatnonzero(~np.isnan(score) & ~np.isnan(chars))
            is_placed = scored[0].placement[at].basis != "none"
            if len(known) < LABELLED_MIN or not is_placed:
                continue
            workloads += 1
            answers = [
                Lesson(
                    odds_of(scored[row].quality[at]), float(score[row]), 1.0,
                    length_marks(float(chars[row]), scored[row].output_tokens), f"k{row % 40}",
                    dataset.prompts[rows[row]].group,
                )
                for row in known
            ]  # fmt: skip
            for draw in range(draws):
                order = np.random.default_rng(draw).permutation(len(answers))
                for count in TAUGHT:
                    verdicts[count].append(_verdict([answers[each] for each in order], count))
        found[source] = {"workloads": workloads} | {
            str(count): {
                "in_force": _share([each[0] for each in verdicts[count]]),
                "auc_expected": round(float(np.nanmean([each[1] for each in verdicts[count]])), 4),
                "auc_taught": round(float(np.nanmean([each[2] for each in verdicts[count]])), 4),
            }
            for count in TAUGHT
        }
    return found


def _verdict(answers: list[Lesson], count: int) -> tuple[bool, float, float]:
    """Whether so many labels put it in force, and AUC on the others: by expectation alone, and as it is in force."""
    judge, others = fitted(answers[:count], is_own=False), answers[count:]
    good = np.array([each.score >= BAD_BELOW for each in others])
    expected = np.array([1 / (1 + exp(-each.odds)) for each in others])
    chance = expected
    if judge.is_in_force:
        chance = np.array([judge.chance(one, each.marks) for one, each in zip(expected, others, strict=True)])
    return judge.is_in_force, float(auc(expected, good)), float(auc(chance, good))


def _share(values: list[bool]) -> float:
    return round(sum(values) / len(values), 4)


def verifier(*, out: Path | None, draws: int = DRAWS) -> dict[str, Any]:
    """Draw, fit, print and write. Raises FileNotFoundError without the shared outcomes."""
    model, dataset = load_quality_model(), load_dataset()
    found: dict[str, Any] = {"model_revision": model.revision, "data_sha256": dataset.data_sha256, "draws": draws}
    found["workloads"] = measure(draws)
    found["by_length"] = by_length(dataset, model, max(1, draws // 50))
    shown = Table(title=f"the verifier on made-up answers, {draws} draws; a look at every 25 labels")
    for column in (
        "workload",
        "labels",
        "by chance",
        "ever until then",
        "where marks tell",
        "bad failed",
        "good failed",
    ):
        shown.add_column(column)
    for name, rows in found["workloads"].items():
        for count, row in rows.items():
            shown.add_row(name, count, *("-" if value is None else f"{value:.1%}" for value in row.values()))
    Console().print(shown)
    real = Table(title="length alone, on real graded answers")
    for column in ("source", "models", "labels", "in force", "AUC, expectation", "AUC, taught"):
        real.add_column(column)
    for source, row in found["by_length"].items():
        for count in map(str, TAUGHT):
            each = row[count]
            figures = (f"{each['in_force']:.1%}", f"{each['auc_expected']:.3f}", f"{each['auc_taught']:.3f}")
            real.add_row(source, str(row["workloads"]), count, *figures)
    Console().print(real)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found
