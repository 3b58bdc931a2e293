"""Outcomes and features side by side: what training, selection and judging start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.pairs import PAIRS
from evals.perturb import PERTURBATIONS, perturbed
from router.features import NETWORK_FEATURE_COUNT, Features, features_of
from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evals.dataset import Dataset

LABELS_MIN = 30
NOISE_SEED = 11


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data, the features of each prompt bare, inside its template (None without one) and with noise, and outcomes.

    ``models``: keys, sorted. ``by_model`` (prompts, models): the columns of one model, of several hosts and sources,
    as one; NaN where unknown.
    """

    dataset: Dataset
    bare: list[Features]
    templated: list[Features | None]
    noisy: list[Features]
    models: list[str]
    by_model: Any

    @property
    def is_dev(self) -> Any:
        """Mask of the prompts that fitting and choosing may see: all but the test split."""
        return self.dataset.splits != "test"

    def trained_pairs(self) -> list[tuple[int, int]]:
        """The judged pairs, once each, as places in ``models``; pairs that the outcomes do not hold are left out."""
        found = []
        for pair in PAIRS:
            columns = [(pair.source, name) for name in (pair.strong, pair.weak)]
            if all(column in self.dataset.columns for column in columns):
                keys = [ability_key(self.dataset.column_model[self.dataset.columns.index(each)]) for each in columns]
                found.append((self.models.index(keys[0]), self.models.index(keys[1])))
        return list(dict.fromkeys(found))


def prepare(dataset: Dataset) -> Prepared:
    """Features of every prompt."""
    names = tuple(PERTURBATIONS)
    picks = np.random.default_rng(NOISE_SEED).integers(len(names), size=len(dataset.prompts))
    models, by_model = outcomes_by_model(dataset)
    return Prepared(
        dataset=dataset,
        bare=[features_of(prompt.view) for prompt in dataset.prompts],
        templated=[features_of(each.templated) if each.templated is not None else None for each in dataset.prompts],
        noisy=[
            features_of(perturbed(prompt.view, names[pick], seed=NOISE_SEED))
            for prompt, pick in zip(dataset.prompts, picks, strict=True)
        ],
        models=models,
        by_model=by_model,
    )


def outcomes_by_model(dataset: Dataset) -> tuple[list[str], Any]:
    """Keys of the models and prompts x models."""
    keys = [ability_key(model) for model in dataset.column_model]
    models = sorted(set(keys))
    merged = np.full((len(dataset.prompts), len(models)), np.nan, dtype=np.float32)
    for index, model in enumerate(models):
        columns = dataset.scores[:, [at for at, key in enumerate(keys) if key == model]]
        count = np.isfinite(columns).sum(1)
        merged[count > 0, index] = np.nansum(columns, 1)[count > 0] / count[count > 0]
    return models, merged


def structure_of(features: Sequence[Features]) -> Any:
    """The network's structural features of many prompts."""
    return np.stack([each.structure[:NETWORK_FEATURE_COUNT] for each in features])
