"""The model's arrays laid out for one prompt at a time: as few and as small numpy calls as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from router.features import BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.features import Features
    from router.quality.model import Placement

    Floats: TypeAlias = NDArray[np.float32]

CLIP: Final = np.float32(4.0)
LOGIT_MAX: Final = np.float32(30.0)
# No row of terms has this number: behind it, the last term ends like every other.
BEHIND_ALL: Final = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """Rows of one set of models over the hidden layer: middle, low and high of each, then the two references.

    ``weights`` (3n + 2, H), ``offsets`` (3n + 2), ``placements`` n.
    """

    weights: Floats
    offsets: Floats
    placements: tuple[Placement, ...]

    def quality_at(self, hidden: Floats) -> Floats:
        """Expected quality (3n + 2)."""
        logits = self.weights @ hidden
        logits += self.offsets
        # Above, the exponential only falls to zero; below, it must not overflow.
        np.maximum(logits, -LOGIT_MAX, out=logits)
        np.negative(logits, out=logits)
        np.exp(logits, out=logits)
        logits += np.float32(1.0)
        np.reciprocal(logits, out=logits)
        return logits


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """Row 0 of ``idf`` and ``basis`` stands for unknown terms, which weigh nothing.

    ``row_of_bucket`` (2**18) int16, ``idf`` (T + 1), ``basis`` (T + 1, D), ``shift`` and ``scale`` (F) standardise the
    structure; ``wide`` (I, H + 1 + kinds) and ``wide_b`` give the hidden layer, the answer's length and the likeness to
    each kind of task in one product.
    """

    row_of_bucket: NDArray[np.int16]
    idf: Floats
    basis: Floats
    shift: Floats
    scale: Floats
    wide: Floats
    wide_b: Floats
    n_hidden: int

    @staticmethod
    def of(
        *,
        buckets: NDArray[np.uint32],
        idf: Floats,
        basis: Floats,
        center: Floats,
        spread: Floats,
        hidden_w: Floats,
        hidden_b: Floats,
        length_w: Floats,
        kind_centers: Floats,
    ) -> Compiled:
        """Lay out fitted arrays; their shapes are those of `router.quality.model.QualityModel`."""
        row_of_bucket = np.zeros(BUCKETS, dtype=np.int16)
        row_of_bucket[buckets] = np.arange(1, len(buckets) + 1)
        dims, n_kinds = basis.shape[1], len(kind_centers)
        kinds = np.zeros((hidden_w.shape[0], n_kinds), dtype=np.float32)
        kinds[:dims] = kind_centers.T
        wide = np.hstack([hidden_w, length_w[1:, None], kinds])
        wide_b = np.concatenate([hidden_b, length_w[:1], np.zeros(n_kinds)])
        return Compiled(
            row_of_bucket=row_of_bucket,
            idf=np.concatenate([[0.0], idf]).astype(np.float32),
            basis=np.vstack([np.zeros((1, dims)), basis]).astype(np.float32),
            shift=center.astype(np.float32),
            scale=(1.0 / spread).astype(np.float32),
            wide=np.ascontiguousarray(wide, dtype=np.float32),
            wide_b=wide_b.astype(np.float32),
            n_hidden=hidden_w.shape[1],
        )

    def inputs_of(self, features: Features) -> tuple[Floats, float]:
        """The network's input (I) and the share of the prompt's words that the vocabulary knows."""
        dims = self.basis.shape[1]
        x = np.zeros(len(self.wide), dtype=np.float32)
        structure = features.structure[: len(self.shift)] - self.shift
        structure *= self.scale
        np.maximum(structure, -CLIP, out=structure)
        np.minimum(structure, CLIP, out=x[dims:])
        n_words = features.n_words
        if not n_words:
            return x, 0.0
        n_terms = len(features.hashed)
        rows = np.empty(n_terms + 1, dtype=np.int16)
        self.row_of_bucket.take(features.hashed, out=rows[:n_terms], mode="clip")  # no bucket is out of bounds
        rows[n_terms] = BEHIND_ALL
        known_share = int(np.count_nonzero(rows[:n_words])) / n_words
        rows.sort()
        ends = (rows[1:] != rows[:-1]).nonzero()[0]
        distinct = rows.take(ends)
        weights = ends.astype(np.float32)
        weights[1:] -= ends[:-1]
        weights[0] += 1
        np.log1p(weights, out=weights)
        weights *= self.idf.take(distinct)
        norm = float(weights @ weights) ** 0.5
        if norm > 0:
            np.divide(weights @ self.basis.take(distinct, axis=0), np.float32(norm), out=x[:dims])
        return x, known_share

    def layer_of(self, x: Floats) -> tuple[Floats, float, int]:
        """The hidden layer (H), the logarithm of the answer's tokens, and the number of the nearest kind of task."""
        layer = x @ self.wide
        layer += self.wide_b
        hidden = layer[: self.n_hidden]
        np.maximum(hidden, 0.0, out=hidden)
        return hidden, float(layer[self.n_hidden]), int(layer[self.n_hidden + 1 :].argmax())
