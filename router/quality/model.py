"""The quality model: features -> latent skills that a prompt asks for -> expected quality of each model.

``q_m(x) = sigmoid(b(ability_m) + a(ability_m) . z(x))``: ``z`` comes from a small network over an LSA of hashed words
and bigrams beside structural features; ``a`` and ``b`` are lines in a model's ability, so that a model which nobody has
outcomes of needs one number (after item-response models: IRT-Router, arXiv 2506.01048; EmbedLLM, arXiv 2410.02223).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from math import exp, isfinite, log
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

import numpy as np

from router.features import FEATURE_NAMES
from router.quality.inference import Bound, Compiled
from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.features import Features

    Floats: TypeAlias = NDArray[np.float32]

Basis: TypeAlias = Literal["own", "predecessor", "outcomes", "labels", "none"]
Widths = TypeVar("Widths", float, "NDArray[np.float32]")
# Models with own figures and those that stand where a predecessor does are placed by one line.
FIGURES: Final = ("own", "predecessor")
Z_95: Final = 1.96
OUTPUT_TOKENS_MAX: Final = 4_000.0
LOSS_MAX: Final = 1.0
# Where thresholds of every source that has none of its own stand.
ELSEWHERE: Final = ""
# The outcomes hold no image and no tool: what is known of the words counts for less beside them.
IMAGE_SUPPORT: Final = 0.5
TOOLS_SUPPORT: Final = 0.9
# Sets of models that are asked about together are few: those of the policy, and of the one before a reload.
BOUND_SETS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Placement:
    """What a model's ability rests on: its own figures, a predecessor's, outcomes on prompts, labels, or nothing."""

    basis: Basis
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """What the quality model says of one prompt, for the models that were asked about, in their order.

    ``complexity``: 0..1, the calibrated share of an economy model's answers that fall short of a premium one's.
    ``quality``: expected score 0..1; ``width``: half-width of its 95 % interval from the ability alone. ``support``:
    0..1, how much of the prompt the calibration's data knows; without ``has_ground`` nothing may be promised.
    ``output_tokens``: the visible answer that an economy model is expected to give, 1..4,000 tokens.
    """

    complexity: float
    quality: tuple[float, ...]
    width: tuple[float, ...]
    placement: tuple[Placement, ...]
    support: float
    has_ground: bool
    kind: str
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Ability:
    """A model's place on the scale of the outcomes, its standard error, and what it rests on."""

    value: float
    standard_error: float
    placement: Placement


NOWHERE: Final = Ability(0.0, 1.0, Placement("none"))


@dataclass(frozen=True, slots=True, eq=False)
class QualityModel:
    """Fitted arrays and what they mean. Shapes: terms T, LSA dims D, network inputs I = D + F, hidden H, skills K.

    ``buckets`` (T) sorted, ``idf`` (T), ``basis`` (T, D) int8 times ``basis_scale`` (D); ``center``, ``spread`` (F);
    ``hidden_w`` (I, H), ``hidden_b`` (H); ``skill_w`` (H, K), ``skill_b`` (K); ``slope`` (2, K) and ``offset`` (3) give
    a and b as polynomials in the ability; models with outcomes have their own a and b, ``own_slope`` (M, K) and
    ``own_offset`` (M), at ``own_rows``. ``thresholds`` (sources + 1, tolerances): the largest predicted loss that keeps
    each of ``tolerances`` with 95 % confidence on the calibration's prompts of a source, minus infinity where nothing
    but premium does; the last row, as strict as any, holds for every other source. ``complexity_knots`` (n, 2).
    ``reference_slope`` (2, K) and ``reference_offset`` (2): the strong and the weak model that complexity lies between.
    ``aliases``: the origins' names onto keys of ``abilities``.
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
    tolerances: Floats
    threshold_sources: tuple[str, ...]
    complexity_knots: Floats
    reference_slope: Floats
    reference_offset: Floats
    support_floor: float
    kind_centers: Floats
    kinds: tuple[str, ...]
    own_slope: Floats
    own_offset: Floats
    own_rows: Mapping[str, int]
    abilities: Mapping[str, Ability]
    aliases: Mapping[str, str]
    names: tuple[str, ...]
    compiled: Compiled = field(init=False, repr=False)
    _bound: dict[tuple[str, ...], Bound] = field(init=False, repr=False, default_factory=dict)
    _complexity_at: list[float] = field(init=False, repr=False)
    _complexity_is: list[float] = field(init=False, repr=False)
    _limits: dict[str, list[tuple[float, float]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the arrays out for one prompt at a time."""
        compiled = Compiled.of(
            buckets=self.buckets, idf=self.idf, basis=self.basis.astype(np.float32) * self.basis_scale,
            center=self.center, spread=self.spread, hidden_w=self.hidden_w, hidden_b=self.hidden_b,
            length_w=self.length_w, kind_centers=self.kind_centers,
        )  # fmt: skip
        object.__setattr__(self, "compiled", compiled)
        # A few numbers that every request looks up one of are plain ones: an array's machinery costs more than they do.
        object.__setattr__(self, "_complexity_at", self.complexity_knots[:, 0].tolist())
        object.__setattr__(self, "_complexity_is", self.complexity_knots[:, 1].tolist())
        rows = [list(zip(self.tolerances.tolist(), row, strict=True)) for row in self.thresholds.tolist()]
        limits = dict(zip((*self.threshold_sources, ELSEWHERE), rows, strict=True))
        object.__setattr__(self, "_limits", limits)

    def key_of(self, model_name: str) -> str:
        """The key of a model in ``abilities``, by an origin's exact name or any host's spelling."""
        exact = self.aliases.get(model_name) or self.aliases.get(model_name.rsplit("/", 1)[-1])
        return exact or ability_key(model_name)

    def ability_of(self, model_name: str) -> Ability:
        """Where a model stands; ``NOWHERE`` for one that nothing is known of."""
        return self.abilities.get(self.key_of(model_name), NOWHERE)

    def lines_of(self, abilities: Floats) -> tuple[Floats, Floats]:
        """Slopes (n, K) and offsets (n) at each ability (n)."""
        slope = self.slope[0] + abilities[:, None] * self.slope[1]
        return slope, self.offset[0] + abilities * self.offset[1] + abilities**2 * self.offset[2]

    def bound_to(self, model_names: tuple[str, ...]) -> Bound:
        """The rows that score these models, made once for each set of names."""
        bound = self._bound.get(model_names)
        if bound is None:
            if len(self._bound) >= BOUND_SETS_MAX:
                self._bound.clear()
            bound = self._bound[model_names] = self._bind(model_names)
        return bound

    def _bind(self, model_names: tuple[str, ...]) -> Bound:
        found = [self.ability_of(name) for name in model_names]
        values = np.array([each.value for each in found], dtype=np.float32)
        errors = np.array([each.standard_error for each in found], dtype=np.float32)
        middle_slope, middle_offset = self.lines_of(values)
        for index, name in enumerate(model_names):
            row = self.own_rows.get(self.key_of(name))
            if row is not None:
                middle_slope[index], middle_offset[index] = self.own_slope[row], self.own_offset[row]
        parts = [
            (middle_slope, middle_offset),
            self.lines_of(values - np.float32(Z_95) * errors),
            self.lines_of(values + np.float32(Z_95) * errors),
            (self.reference_slope, self.reference_offset),
        ]
        slope = np.concatenate([each for each, _ in parts])
        offset = np.concatenate([each for _, each in parts])
        # The skills are linear in the hidden layer, so the layer between them and the models is folded away.
        return Bound(
            weights=np.ascontiguousarray(slope @ self.skill_w.T, dtype=np.float32),
            offsets=(slope @ self.skill_b + offset).astype(np.float32),
            placements=tuple(each.placement for each in found),
        )

    def score(self, features: Features, model_names: Sequence[str]) -> Scores:
        """Expected quality of each model on the prompt; ``model_names`` as a policy or an origin writes them.

        Raises ValueError naming a feature that is no finite number; `router.features.features_of` makes none.
        """
        if not isfinite(features.structure.sum()):
            at = np.isfinite(features.structure).argmin()
            raise ValueError(f"the feature {FEATURE_NAMES[at]} is not a finite number")
        bound = self.bound_to(tuple(model_names))
        compiled = self.compiled
        x, known_share = compiled.inputs_of(features)
        hidden, log_length, kind = compiled.layer_of(x)
        quality = bound.quality_at(hidden).tolist()
        n_models = len(bound.placements)
        low, high = quality[n_models : 2 * n_models], quality[2 * n_models : 3 * n_models]
        gap = quality[-2] - quality[-1]
        support = known_share * support_factor(features)
        return Scores(
            complexity=interpolated(gap, self._complexity_at, self._complexity_is),
            quality=tuple(quality[:n_models]),
            width=tuple([abs(upper - lower) / 2 for lower, upper in zip(low, high, strict=True)]),
            placement=bound.placements,
            support=support,
            has_ground=support >= self.support_floor,
            kind=self.kinds[kind],
            output_tokens=exp(min(max(log_length, 0.0), log(OUTPUT_TOKENS_MAX))),
        )

    def predicted_loss(self, scores: Scores, premium_index: int) -> tuple[float, ...]:
        """Each model's loss against premium, widened by what their places leave open (`charge_of`).

        Against a premium model that nothing is known of, everything may be lost.
        """
        placed, foreign = scores.placement[premium_index], float(self.is_foreign(scores.kind))
        if placed.basis == "none":
            return tuple(0.0 if index == premium_index else LOSS_MAX for index in range(len(scores.quality)))
        premium, width = scores.quality[premium_index], scores.width[premium_index]
        return tuple(
            0.0 if index == premium_index else premium - quality + charge_of(each, placed, mine, width, foreign)
            for index, (quality, mine, each) in enumerate(
                zip(scores.quality, scores.width, scores.placement, strict=True)
            )
        )

    def is_foreign(self, kind: str) -> bool:
        """Whether no threshold was calibrated on prompts of the kind's source."""
        return kind.split(":", 1)[0] not in self.threshold_sources

    def threshold(self, tolerance: float, kind: str = "") -> float:
        """The largest predicted loss that keeps the tolerance on prompts of the kind; minus infinity, premium alone.

        Between the fitted tolerances the stricter neighbour's threshold holds.
        """
        if tolerance <= 0:
            return float("-inf")
        rows = self._limits.get(kind.split(":", 1)[0]) or self._limits[ELSEWHERE]
        asked = float(np.float32(tolerance + 1e-9))
        return max([limit for kept, limit in rows if kept <= asked], default=float("-inf"))


def charge_of(mine: Placement, premium: Placement, width: Widths, premium_width: Widths, foreign: Widths) -> Widths:
    """What the error of two places adds to a predicted loss, from the half-widths of their 95 % intervals.

    The difference where both stand on public figures: one line placed them, so that they share its error, and one that
    rests on a predecessor is charged for that, as is every other where premium does. Nothing where outcomes on the same
    prompts put both in their places, unless the prompt is of a kind that no threshold was calibrated on (``foreign`` 1,
    else 0): thresholds are calibrated on such losses as they are. Else the errors have nothing to do with each other,
    and their squares add up.
    """
    if mine.basis in FIGURES and premium.basis in FIGURES:
        difference: Widths = abs(width - premium_width)
        return difference
    apart: Widths = (width * width + premium_width * premium_width) ** 0.5  # type: ignore[assignment]
    if mine.basis == premium.basis == "outcomes" and not set(mine.sources).isdisjoint(premium.sources):
        return apart * foreign
    return apart


def interpolated(at: float, knots: Sequence[float], values: Sequence[float]) -> float:
    """The line through the knots, flat beyond the first and the last: as `numpy.interp` has it, to the last bit."""
    index = bisect_right(knots, at) - 1
    if index < 0:
        return values[0]
    if index >= len(knots) - 1 or knots[index] == at:
        return values[index]
    slope = (values[index + 1] - values[index]) / (knots[index + 1] - knots[index])
    return slope * (at - knots[index]) + values[index]


def support_factor(features: Features) -> float:
    """How much what is known of the words still says beside images and tools."""
    factor = IMAGE_SUPPORT if features.has_images else 1.0
    return factor * TOOLS_SUPPORT if features.has_tools else factor
