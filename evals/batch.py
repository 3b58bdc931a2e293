"""Many prompts through a loaded artifact at once; equal to `QualityModel.score` one by one, which a test holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.fit import Lsa, project
from evals.fitted import CLIP
from evals.prepare import structure_of
from router.quality.model import LOSS_MAX, charge_of, support_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.features import Features
    from router.quality import QualityModel


@dataclass(frozen=True, slots=True)
class Batch:
    """Scored prompts: ``hidden`` (n, H), ``support`` (n), ``kinds`` (n) by number, ``complexity`` (n)."""

    model: QualityModel
    hidden: Any
    support: Any
    kinds: Any
    complexity: Any

    @property
    def kind_sources(self) -> Any:
        """The source that each prompt's nearest kind of task belongs to."""
        return np.array([kind.split(":", 1)[0] for kind in self.model.kinds])[self.kinds]

    def quality(self, names: Sequence[str]) -> Any:
        """Expected quality (n, models)."""
        bound = self.model.bound_to(tuple(names))
        count = len(bound.placements)
        return sigmoid(self.hidden @ bound.weights[:count].T + bound.offsets[:count])

    def losses(self, names: Sequence[str], premium: int = 0) -> Any:
        """Predicted loss (n, models) against one of the models, by the gateway's rule.

        What the widths add is `router.quality.model.charge_of`; a model that nothing is known of loses without end.
        """
        bound = self.model.bound_to(tuple(names))
        count = len(bound.placements)
        logits = self.hidden @ bound.weights[: 3 * count].T + bound.offsets[: 3 * count]
        middle, low, high = (sigmoid(logits[:, part * count : (part + 1) * count]) for part in range(3))
        width, placed = np.abs(high - low) / 2, bound.placements
        loss = middle[:, [premium]] - middle
        foreign = np.array([self.model.is_foreign(kind) for kind in self.model.kinds], dtype=np.float32)[self.kinds]
        for at, each in enumerate(placed):
            loss[:, at] += charge_of(each, placed[premium], width[:, at], width[:, premium], foreign)
        loss[:, [each.basis == "none" for each in bound.placements]] = np.inf
        if bound.placements[premium].basis == "none":
            loss[:] = LOSS_MAX
        loss[:, premium] = 0.0
        return loss

    def rank(self, strong: str, weak: str) -> Any:
        """What orders prompts from weak to strong: the predicted gain, or complexity where a model is unknown."""
        placements = self.model.bound_to((strong, weak)).placements
        if any(each.basis == "none" for each in placements):
            return self.complexity
        quality = self.quality((strong, weak))
        return quality[:, 0] - quality[:, 1]

    def thresholds(self, tolerance: float) -> Any:
        """The predicted-loss threshold of each prompt, by its kind."""
        each = np.array([self.model.threshold(tolerance, kind) for kind in self.model.kinds])
        return each[self.kinds]


def sigmoid(logits: Any) -> Any:
    """The logistic function, safe at both ends."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def batch_of(model: QualityModel, features: Sequence[Features]) -> Batch:
    """Score many prompts."""
    lsa = Lsa(model.buckets, model.idf, model.basis.astype(np.float32) * model.basis_scale)
    coordinates = project(features, lsa)
    structure = np.clip((structure_of(features) - model.center) / model.spread, -CLIP, CLIP)
    x = np.hstack([coordinates, structure]).astype(np.float32)
    hidden = np.maximum(x @ model.hidden_w + model.hidden_b, 0)
    bound = model.bound_to((model.names[0],))
    references = sigmoid(hidden @ bound.weights[-2:].T + bound.offsets[-2:])
    knots = model.complexity_knots
    return Batch(
        model=model,
        hidden=hidden,
        support=known_shares(features, model.buckets) * np.array([support_factor(each) for each in features]),
        kinds=np.argmax(coordinates @ model.kind_centers.T, axis=1),
        complexity=np.interp(references[:, 0] - references[:, 1], knots[:, 0], knots[:, 1]),
    )


def known_shares(features: Sequence[Features], buckets: Any) -> Any:
    """Share of each prompt's words that the vocabulary knows, 0 for a prompt without words."""
    found = []
    for one in features:
        words = one.hashed[: one.n_words]
        at = np.minimum(np.searchsorted(buckets, words), len(buckets) - 1)
        found.append(float(np.mean(buckets[at] == words)) if len(words) else 0.0)
    return np.array(found)
