"""The item-response network, trained with Adam in numpy: prompts' inputs -> skills -> every column's outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

HIDDEN, SKILLS = 96, 12
EPOCHS, BATCH, RATE, DECAY, DROPOUT = 40, 512, 2e-3, 1e-3, 0.3
B1, B2 = 0.9, 0.999


@dataclass(frozen=True, slots=True)
class Network:
    """Weights: I x H, H, H x K, K, then each column's slope C x K and offset C."""

    hidden_w: Floats
    hidden_b: Floats
    skill_w: Floats
    skill_b: Floats
    slope: Floats
    offset: Floats

    def skills(self, x: Floats) -> Floats:
        """Skills (n, K) of inputs (n, I)."""
        return np.asarray(np.maximum(x @ self.hidden_w + self.hidden_b, 0) @ self.skill_w + self.skill_b)

    def quality(self, x: Floats) -> Floats:
        """Predicted outcome (n, C)."""
        return np.asarray(1 / (1 + np.exp(-(self.skills(x) @ self.slope.T + self.offset))), dtype=np.float32)


def fit_network(
    x: Floats, scores: Floats, weights: Floats, *, seed: int = 0, progress: Callable[[int, float], None] | None = None
) -> Network:
    """Fit by cross-entropy on the outcomes that are known (``scores`` NaN elsewhere); ``weights`` are a row's."""
    rng = np.random.default_rng(seed)
    n, inputs = x.shape
    columns = scores.shape[1]
    known = np.isfinite(scores)
    target = np.nan_to_num(scores)
    rate = np.clip(target.sum(0) / np.maximum(known.sum(0), 1), 0.02, 0.98)
    p = [
        (rng.standard_normal((inputs, HIDDEN)) * np.sqrt(2 / inputs)).astype(np.float32),
        np.zeros(HIDDEN, dtype=np.float32),
        (rng.standard_normal((HIDDEN, SKILLS)) * np.sqrt(1 / HIDDEN)).astype(np.float32),
        np.zeros(SKILLS, dtype=np.float32),
        (np.eye(1, SKILLS) + 0.3 * rng.standard_normal((columns, SKILLS))).astype(np.float32),
        np.log(rate / (1 - rate)).astype(np.float32),
    ]
    first = [np.zeros_like(each) for each in p]
    second = [np.zeros_like(each) for each in p]
    step = 0
    for epoch in range(EPOCHS):
        total = 0.0
        rate_now = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(n)
        for start in range(0, n, BATCH):
            rows = order[start : start + BATCH]
            grads, loss = _gradients(p, x[rows], target[rows], known[rows] * weights[rows, None], rng)
            total += loss
            step += 1
            for index, grad in enumerate(grads):
                decayed = grad + DECAY * p[index] * (index in (0, 2))
                first[index] = B1 * first[index] + (1 - B1) * decayed
                second[index] = B2 * second[index] + (1 - B2) * decayed**2
                fixed = first[index] / (1 - B1**step) / (np.sqrt(second[index] / (1 - B2**step)) + 1e-8)
                p[index] = (p[index] - rate_now * fixed).astype(np.float32)
        if progress is not None:
            progress(epoch + 1, total / n)
    return Network(*p)


def joined(networks: Sequence[Network]) -> Network:
    """The networks' mean in log-odds, as one network of the same shape of arrays: their skills stand side by side."""
    count = len(networks)
    skill_w = np.zeros((sum(len(each.hidden_b) for each in networks), SKILLS * count), dtype=np.float32)
    row = 0
    for index, each in enumerate(networks):
        skill_w[row : row + len(each.hidden_b), SKILLS * index : SKILLS * (index + 1)] = each.skill_w
        row += len(each.hidden_b)
    return Network(
        np.hstack([each.hidden_w for each in networks]),
        np.hstack([each.hidden_b for each in networks]),
        skill_w,
        np.hstack([each.skill_b for each in networks]),
        np.hstack([each.slope for each in networks]) / np.float32(count),
        np.mean([each.offset for each in networks], axis=0),
    )


def _gradients(
    p: list[Floats], x: Floats, target: Floats, weight: Floats, rng: np.random.Generator
) -> tuple[list[Floats], float]:
    w1, b1, w2, b2, slope, offset = p
    kept = (rng.random((len(x), w1.shape[1])) > DROPOUT) / (1 - DROPOUT)
    raw = x @ w1 + b1
    hidden = np.maximum(raw, 0) * kept
    skills = hidden @ w2 + b2
    logits = np.clip(skills @ slope.T + offset, -30, 30)
    predicted = 1 / (1 + np.exp(-logits))
    loss = -(weight * (target * np.log(predicted + 1e-9) + (1 - target) * np.log(1 - predicted + 1e-9))).sum()
    d_logits = weight * (predicted - target) / len(x)
    d_skills = d_logits @ slope
    d_hidden = (d_skills @ w2.T) * kept * (raw > 0)
    found = [
        x.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_skills, d_skills.sum(0), d_logits.T @ skills, d_logits.sum(0),
    ]  # fmt: skip
    return [np.asarray(each, dtype=np.float32) for each in found], float(loss)
