"""The quality model: features -> latent skills that a prompt asks for -> expected quality of each model.

``q_m(x) = sigmoid(b(ability_m) + a(ability_m) . z(x))``: ``z`` comes from a small network over an LSA of hashed words
and bigrams beside structural features; ``a`` and ``b`` are lines in a model's ability, so that a model which nobody has
outcomes of needs one number (after item-response models: IRT-Router, arXiv 2506.01048; EmbedLLM, arXiv 2410.02223).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.features import Features

    Floats: TypeAlias = NDArray[np.float32]

Basis: TypeAlias = Literal["own", "predecessor", "outcomes", "none"]
NAME_NOISE = re.compile(r"(instruct|turbo|versatile|fp8|inst|meta|hf|chat|latest|preview|\d{8}|[-_.: ])")


@dataclass(frozen=True, slots=True)
class Placement:
    """What a model's ability rests on: its own figures, a predecessor's, outcomes on prompts, or nothing."""

    basis: Basis
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """What the quality model says of one prompt, for the models that were asked about, in their order.

    ``complexity``: 0..1, the calibrated share of an economy model's answers that fall short of a premium one's.
    ``quality``: expected score 0..1; ``width``: half-width of its 95 % interval from the ability alone. ``support``:
    0..1, how much of the prompt the calibration's data knows; without ``has_ground`` nothing may be promised.
    """

    complexity: float
    quality: tuple[float, ...]
    width: tuple[float, ...]
    placement: tuple[Placement, ...]
    support: float
    has_ground: bool
    kind: str


def ability_key(name: str) -> str:
    """One name for all hosts' spellings of one model: no provider, no dates, no words that name a packaging."""
    return NAME_NOISE.sub("", name.rsplit("/", 1)[-1].lower())


@dataclass(frozen=True, slots=True)
class Ability:
    """A model's place on the scale of the outcomes, its standard error, and what it rests on."""

    value: float
    standard_error: float
    placement: Placement


NOWHERE = Ability(0.0, 1.0, Placement("none"))
Z_95 = 1.96


def sigmoid(x: Floats) -> Floats:
    """The logistic function, safe at both ends."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30, 30))), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class QualityModel:
    """Fitted arrays and what they mean. Shapes: terms T, LSA dims D, network inputs I = D + F, hidden H, skills K.

    ``buckets`` (T) sorted, ``idf`` (T), ``basis`` (T, D) int8 times ``basis_scale`` (D); ``center``, ``spread`` (F);
    ``hidden_w`` (I, H), ``hidden_b`` (H); ``skill_w`` (H, K), ``skill_b`` (K); ``slope`` (2, K) and ``offset`` (3) give
    a and b as polynomials in the ability; models with outcomes have their own a and b, ``own_slope`` (M, K) and
    ``own_offset`` (M), at ``own_rows``. ``thresholds`` (n, 2): tolerance and the largest predicted-loss threshold
    that keeps it with 95 % confidence on the calibration split. ``complexity_knots`` (n, 2).
    """

    revision: str
    buckets: NDArray[np.uint32]
    idf: Floats
    basis: NDArray[np.int8]
    basis_scale: Floats
    center: Floats
    spread: Floats
    hidden_w: Floats
    hidden_b: Floats
    skill_w: Floats
    skill_b: Floats
    slope: Floats
    offset: Floats
    length_w: Floats
    thresholds: Floats
    complexity_knots: Floats
    references: Floats
    support_floor: float
    kind_centers: Floats
    kinds: tuple[str, ...]
    own_slope: Floats
    own_offset: Floats
    own_rows: Mapping[str, int]
    abilities: Mapping[str, Ability]
    models: tuple[str, ...]

    def inputs_of(self, features: Features) -> tuple[Floats, float]:
        """The network's input (I) and the share of the prompt's terms that the vocabulary knows."""
        dims = self.basis.shape[1]
        x = np.zeros(dims + len(self.center), dtype=np.float32)
        known_share = 0.0
        if len(features.hashed):
            ids, counts = np.unique(features.hashed, return_counts=True)
            at = np.searchsorted(self.buckets, ids)
            at[at == len(self.buckets)] = 0
            known = self.buckets[at] == ids
            rows = at[known]
            weights = np.log1p(counts[known]).astype(np.float32) * self.idf[rows]
            norm = float(np.sqrt(weights @ weights))
            if norm > 0:
                x[:dims] = (weights @ self.basis[rows].astype(np.float32)) * self.basis_scale / norm
            words = features.hashed[: features.n_words]
            place = np.searchsorted(self.buckets, words)
            place[place == len(self.buckets)] = 0
            known_share = float(np.mean(self.buckets[place] == words)) if len(words) else 0.0
        structure = features.structure[: len(self.center)]
        x[dims:] = np.clip((structure - self.center) / self.spread, -4.0, 4.0)
        return x, known_share

    def skills_of(self, x: Floats) -> Floats:
        """The skills (K) that the prompt asks for."""
        hidden = np.maximum(x @ self.hidden_w + self.hidden_b, 0.0)
        return np.asarray(hidden @ self.skill_w + self.skill_b, dtype=np.float32)

    def quality_at(self, skills: Floats, abilities: Floats) -> Floats:
        """Expected quality (n) at each ability (n)."""
        a = self.slope[0][None, :] + abilities[:, None] * self.slope[1][None, :]
        b = self.offset[0] + abilities * self.offset[1] + abilities**2 * self.offset[2]
        return sigmoid(a @ skills + b)

    def ability_of(self, model_key: str) -> Ability:
        """Where a model stands; ``NOWHERE`` for one that nothing is known of."""
        return self.abilities.get(ability_key(model_key), NOWHERE)

    def score(self, features: Features, model_keys: Sequence[str]) -> Scores:
        """Expected quality of each model on the prompt, named by litellm-style keys."""
        x, known_share = self.inputs_of(features)
        skills = self.skills_of(x)
        found = [self.ability_of(key) for key in model_keys]
        values = np.array([each.value for each in found], dtype=np.float32)
        errors = np.array([each.standard_error for each in found], dtype=np.float32)
        middle = self._own_or(skills, model_keys, self.quality_at(skills, values))
        low = self.quality_at(skills, values - Z_95 * errors)
        high = self.quality_at(skills, values + Z_95 * errors)
        strong, weak = self.quality_at(skills, self.references)
        complexity = float(np.interp(strong - weak, self.complexity_knots[:, 0], self.complexity_knots[:, 1]))
        support = min(1.0, known_share)
        lsa = x[: self.basis.shape[1]]
        nearest = int(np.argmax(self.kind_centers @ lsa))
        return Scores(
            complexity=complexity,
            quality=tuple(float(value) for value in middle),
            width=tuple(float(value) for value in np.abs(high - low) / 2),
            placement=tuple(each.placement for each in found),
            support=support,
            has_ground=support >= self.support_floor,
            kind=self.kinds[nearest],
        )

    def _own_or(self, skills: Floats, model_keys: Sequence[str], otherwise: Floats) -> Floats:
        """Quality by a model's own fitted skills where it has outcomes, else what its ability says."""
        rows = [self.own_rows.get(ability_key(key), -1) for key in model_keys]
        own = sigmoid(self.own_slope[rows] @ skills + self.own_offset[rows])
        return np.where(np.array(rows) >= 0, own, otherwise)

    def predicted_loss(self, scores: Scores, premium_index: int) -> tuple[float, ...]:
        """Each model's loss against premium, widened by what its width exceeds premium's.

        Two models placed by the same kind of figures share most of their error, so only the excess counts: a model
        that rests on a predecessor is charged for it, one that stands as firmly as premium is not.
        """
        premium, width = scores.quality[premium_index], scores.width[premium_index]
        return tuple(
            0.0 if index == premium_index else premium - quality + max(0.0, mine - width)
            for index, (quality, mine) in enumerate(zip(scores.quality, scores.width, strict=True))
        )

    def threshold(self, tolerance: float) -> float:
        """The largest predicted loss that keeps the tolerance; minus infinity, premium alone, at 0.

        Between the fitted tolerances the stricter neighbour's threshold holds.
        """
        kept = self.thresholds[self.thresholds[:, 0] <= tolerance + 1e-9]
        return float("-inf") if tolerance <= 0 or len(kept) == 0 else float(kept[:, 1].max())

    def expected_output_tokens(self, features: Features) -> float:
        """How many visible tokens an economy model is expected to answer with, 1..4,000."""
        x, _ = self.inputs_of(features)
        logarithm = float(self.length_w[0] + x @ self.length_w[1:])
        return float(np.exp(np.clip(logarithm, 0.0, np.log(4_000.0))))
