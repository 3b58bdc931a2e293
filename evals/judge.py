"""Judging on strong/weak pairs: APGR, CPT and AUC of every method, with intervals over groups of twins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.baselines import category_prior, simple_scores
from evals.batch import batch_of
from evals.metrics import apgr, auc, auc_within, bootstrap, cpt, interval
from evals.pairs import PAIRS, Pair, rows_of

if TYPE_CHECKING:
    from evals.prepare import Prepared
    from router.quality import QualityModel

FIGURES: Final = ("apgr", "cpt50", "cpt80", "auc", "auc_within")
ROUNDS: Final = 200
OURS: Final = "ours"
COMPLEXITY: Final = "ours, complexity alone"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One method on one pair: each figure's value, and its draws (rounds, figures)."""

    pair: Pair
    method: str
    prompts: int
    values: Any
    draws: Any


def figures_of(score: Any, strong: Any, weak: Any, category: Any) -> Any:
    """APGR, CPT(50 %), CPT(80 %), AUC of "the weak model suffices", the same within category."""
    suffices = weak >= strong
    return np.array(
        [
            apgr(score, strong, weak),
            cpt(score, strong, weak, 0.5),
            cpt(score, strong, weak, 0.8),
            auc(-score, suffices),
            auc_within(-score, suffices, category),
        ]
    )


def verdicts_of(
    prepared: Prepared,
    model: QualityModel,
    keep: Any,
    litellm: dict[str, Any],
    *,
    known: Any,
    rounds: int = ROUNDS,
    only: str | None = None,
) -> list[Verdict]:
    """Every method on every pair over the prompts that ``keep`` masks; priors rest on those that ``known`` masks."""
    dataset = prepared.dataset
    found = []
    for pair in PAIRS:
        every = rows_of(pair, dataset)
        rows = every[keep[every]]
        if not len(rows) or only not in (None, pair.source):
            continue
        gain = dataset.column(pair.source, pair.strong)[every] - dataset.column(pair.source, pair.weak)[every]
        prior = category_prior(dataset.categories[every], gain, known[every])[keep[every]]
        strong, weak = (dataset.column(pair.source, name)[rows] for name in (pair.strong, pair.weak))
        batch = batch_of(model, [prepared.bare[row] for row in rows])
        methods = {
            **simple_scores(dataset, rows),
            "category prior": prior,
            **{name: scores[rows] for name, scores in litellm.items()},
            COMPLEXITY: batch.complexity,
            OURS: batch.rank(pair.strong, pair.weak),
            "oracle": strong - weak,
        }
        for name, score in methods.items():
            columns = (score, strong, weak, dataset.categories[rows])

            def drawn(at: Any, columns: Any = columns) -> Any:
                return figures_of(*(column[at] for column in columns))

            draws = bootstrap(drawn, dataset.groups[rows], rounds=rounds)
            found.append(Verdict(pair, name, len(rows), figures_of(*columns), draws))
    return found


def row_of(verdicts: list[Verdict]) -> dict[str, Any]:
    """Figures of one method over some pairs: their mean, with the interval of the mean."""
    values = np.mean([each.values for each in verdicts], axis=0)
    draws = np.mean([each.draws for each in verdicts], axis=0)
    found: dict[str, Any] = {"prompts": sum(each.prompts for each in verdicts)}
    for index, name in enumerate(FIGURES):
        low, high = interval(draws[:, index])
        found[name] = {"value": float(values[index]), "low": low, "high": high}
    return found


def tables_of(verdicts: list[Verdict]) -> dict[str, Any]:
    """By pair, by source and over all pairs: each method's figures, and ours less LiteLLM's on the same resamples."""
    methods = list(dict.fromkeys(each.method for each in verdicts))
    scopes: dict[str, list[str]] = {}
    for each in verdicts:
        for scope in (f"pair: {each.pair.group}", f"source: {each.pair.source}", "all pairs"):
            if each.pair.group not in scopes.setdefault(scope, []):
                scopes[scope].append(each.pair.group)
    found: dict[str, Any] = {}
    for scope, groups in sorted(scopes.items(), key=lambda item: ("pair", "sour", "all ").index(item[0][:4])):
        rows = {
            method: row_of([each for each in verdicts if each.method == method and each.pair.group in groups])
            for method in methods
        }
        found[scope] = {"methods": rows, "lead": lead_of(verdicts, groups)}
    return found


def lead_of(verdicts: list[Verdict], groups: list[str]) -> dict[str, dict[str, float]]:
    """Our APGR less each LiteLLM form's, with the interval of the difference."""
    found = {}
    for method in dict.fromkeys(each.method for each in verdicts if each.method.startswith("LiteLLM")):
        ours = [each for each in verdicts if each.method == OURS and each.pair.group in groups]
        theirs = [each for each in verdicts if each.method == method and each.pair.group in groups]
        value = np.mean([mine.values[0] - other.values[0] for mine, other in zip(ours, theirs, strict=True)])
        draws = np.mean(
            [mine.draws[:, 0] - other.draws[:, 0] for mine, other in zip(ours, theirs, strict=True)], axis=0
        )
        low, high = interval(draws)
        found[method] = {"value": float(value), "low": low, "high": high}
    return found
