"""`python -m evals ablate`: other shapes of the model beside the chosen one, on seen sources and on left-out ones.

Outside the test split alone. Seen: three folds by group of twins. Left out: each source with judged pairs in turn, all
of its prompts without a twin elsewhere. A pair with a model that is then unknown is ranked by the mean gain of the
known pairs. What is predicted is kept from fold to fold, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from evals.alternatives import ALTERNATIVES, STACKS, Asked
from evals.batch import sigmoid
from evals.dataset import load_dataset
from evals.fitted import folds_of, lesson_of
from evals.kept import cache_folder
from evals.metrics import apgr, auc_within, bootstrap, interval
from evals.pairs import PAIRS, Pair, rows_of
from evals.prepare import prepare
from evals.recipe import CHOSEN
from evals.train import sayer, splits_sha256
from evals.version import fit_name
from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evals.alternatives import Alternative
    from evals.fitted import Lesson
    from evals.prepare import Prepared
    from evals.recipe import Recipe

FOLDS: Final = 3
ROUNDS: Final = 100
SCOPES: Final = ("seen", "left out")


@dataclass(frozen=True, slots=True)
class Fold:
    """``seen`` and ``held`` are prompts; ``source`` is the one left out, "" where none is."""

    name: str
    source: str
    seen: Any
    held: Any


def folds_to_ask(prepared: Prepared) -> Iterator[Fold]:
    """Every fold over the prompts outside the test split."""
    dataset = prepared.dataset
    rows = np.flatnonzero(prepared.is_dev)
    folds = folds_of(dataset.groups[rows], FOLDS)
    for fold in range(FOLDS):
        yield Fold(f"fold {fold + 1} of {FOLDS}", "", rows[folds != fold], rows[folds == fold])
    for source in dict.fromkeys(pair.source for pair in PAIRS):
        outside = rows[dataset.sources[rows] != source]
        inside = rows[dataset.sources[rows] == source]
        held = inside[~np.isin(dataset.groups[inside], dataset.groups[outside])]
        if len(held) and len(outside):
            yield Fold(f"without {source}", source, outside, held)


def models_of(prepared: Prepared, pair: Pair) -> tuple[int, int]:
    """Places of a pair's strong and weak model in ``prepared.models``."""
    dataset = prepared.dataset
    columns = [dataset.columns.index((pair.source, name)) for name in (pair.strong, pair.weak)]
    strong, weak = (prepared.models.index(ability_key(dataset.column_model[column])) for column in columns)
    return strong, weak


def pairs_in(prepared: Prepared) -> list[Pair]:
    """The judged pairs that the outcomes hold."""
    return [pair for pair in PAIRS if len(rows_of(pair, prepared.dataset))]


def gains_of(prepared: Prepared, lesson: Lesson, logits: Any) -> Any:
    """Predicted gain (pairs, h) of each pair; of one with an unknown model, the mean of the known pairs' gains."""
    quality = sigmoid(logits)
    pairs = [models_of(prepared, pair) for pair in pairs_in(prepared)]
    known = [pair for pair in pairs if lesson.shell.usable[list(pair)].all()]
    fallback = np.mean([quality[:, strong] - quality[:, weak] for strong, weak in known or pairs], axis=0)
    return np.stack(
        [quality[:, pair[0]] - quality[:, pair[1]] if pair in known else fallback for pair in pairs]
    ).astype(np.float32)


def predicted(
    prepared: Prepared,
    recipe: Recipe,
    alternatives: dict[str, Alternative],
    fold: Fold,
    *,
    cache: Path,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Callable[[], Lesson], dict[str, Any]]:
    """By alternative, log-odds (h, M) on a fold, from ``cache`` where they were predicted before."""
    kept: list[Lesson] = []

    def lesson() -> Lesson:
        if not kept:
            kept.append(lesson_of(prepared, fold.seen, recipe))
        return kept[0]

    found = {}
    for name, alternative in alternatives.items():
        path = cache / f"ablate-{fit_name(prepared.dataset, recipe, name, fold.name, seed)}.npz"
        if not path.exists():
            needed = np.zeros(len(prepared.models), dtype=bool)
            for pair in pairs_in(prepared):
                needed[list(models_of(prepared, pair))] = True
            held = lesson().shell.inputs([prepared.bare[row] for row in fold.held])
            logits = alternative(Asked(lesson(), held, needed, seed))
            cache.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"part-{path.name}")
            np.savez(part, gains=gains_of(prepared, lesson(), logits), logits=np.where(needed, logits, 0).astype("f4"))
            part.replace(path)
            say(f"{fold.name}: {name}")
        with np.load(path) as read:
            found[name] = {"gains": read["gains"], "logits": read["logits"]}
    return lesson, found


def standardised(gains: Any) -> Any:
    """Each pair's gains over a fold on one scale: a shipped model is one, and its folds need not be lined up."""
    middle, width = gains.mean(1, keepdims=True), gains.std(1, keepdims=True)
    return (gains - middle) / np.maximum(width, 1e-9)


def judged_on(prepared: Prepared, gains: dict[str, Any], *, rounds: int) -> dict[str, Any]:
    """By scope, mean APGR and AUC within category over the pairs; ``gains`` (pairs, prompts) by scope, NaN unasked."""
    dataset = prepared.dataset
    found: dict[str, Any] = {}
    for scope, scores in gains.items():
        values, draws, by_pair = [], [], {}
        for at, pair in enumerate(pairs_in(prepared)):
            rows = rows_of(pair, dataset)
            rows = rows[np.isfinite(scores[at, rows])]
            if not len(rows):
                continue
            strong, weak = (dataset.column(pair.source, name)[rows] for name in (pair.strong, pair.weak))
            columns = (scores[at, rows].astype(float), strong, weak, dataset.categories[rows])

            def figures(some: Any, columns: Any = columns) -> Any:
                score, better, worse, category = (column[some] for column in columns)
                return np.array([apgr(score, better, worse), auc_within(-score, worse >= better, category)])

            values.append(figures(np.arange(len(rows))))
            by_pair[pair.group] = [float(value) for value in values[-1]]
            draws.append(bootstrap(figures, dataset.groups[rows], rounds=rounds))
        means, spread = np.nanmean(values, axis=0), np.nanmean(draws, axis=0)
        found[scope] = {
            name: dict(zip(("value", "low", "high"), (float(means[at]), *interval(spread[:, at])), strict=True))
            for at, name in enumerate(("apgr", "auc_within"))
        } | {"pairs": by_pair}
    return found


def ablate_on(
    prepared: Prepared,
    *,
    cache: Path,
    recipe: Recipe = CHOSEN,
    alternatives: dict[str, Alternative] | None = None,
    stacks: dict[str, tuple[str, ...]] | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Figures of every alternative and stack, as JSON would hold them."""
    singles = ALTERNATIVES if alternatives is None else alternatives
    joint = STACKS if stacks is None else stacks
    shape = (len(pairs_in(prepared)), len(prepared.dataset.prompts))
    gains = {name: {scope: np.full(shape, np.nan) for scope in SCOPES} for name in ("prompt length", *singles, *joint)}
    for fold in folds_to_ask(prepared):
        lesson, asked = predicted(prepared, recipe, singles, fold, cache=cache, seed=seed, say=say)
        mine = {name: each["gains"] for name, each in asked.items()}
        for name, parts in joint.items():
            mine[name] = gains_of(prepared, lesson(), np.mean([asked[part]["logits"] for part in parts], axis=0))
        length = np.array([len(prepared.dataset.prompts[row].view.question) for row in fold.held], dtype=float)
        mine["prompt length"] = np.broadcast_to(length, (shape[0], len(length)))
        for name, each in mine.items():
            for at, pair in enumerate(pairs_in(prepared)):
                if fold.source in ("", pair.source):
                    scope = SCOPES[1] if fold.source else SCOPES[0]
                    gains[name][scope][at, fold.held] = standardised(each[[at]])[0]
    found = {}
    for name, each in gains.items():
        found[name] = judged_on(prepared, each, rounds=rounds)
        say(f"judged: {name}")
    return {
        "data_sha256": prepared.dataset.data_sha256,
        "splits_sha256": splits_sha256(prepared.dataset),
        "seed": seed,
        "alternatives": found,
    }


def show_ablation(found: dict[str, Any], console: Console | None = None) -> None:
    """Print the table."""
    console = console or Console(width=150)
    table = Table(title="mean over the pairs (95 % bootstrap over groups), outside the test split")
    columns = [f"{figure}, {scope}" for scope in SCOPES for figure in ("APGR", "AUC within category")]
    for column in ("alternative", *columns):
        table.add_column(column)
    for name, scopes in found["alternatives"].items():
        cells = [
            f"{row['value']:.4f} ({row['low']:.2f}..{row['high']:.2f})"
            for scope in SCOPES
            for row in (scopes[scope]["apgr"], scopes[scope]["auc_within"])
        ]
        table.add_row(name, *cells)
    console.print(table)


def ablate(*, out: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Load, predict, judge, print, and write JSON where asked."""
    found = ablate_on(prepare(load_dataset()), cache=cache_folder(), seed=seed, say=sayer())
    show_ablation(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found
