"""Every array of the artifact that a fit alone gives: abilities, kinds of task, the answer's length, the network's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from router.quality.names import ability_key

if TYPE_CHECKING:
    from evals.dataset import Dataset
    from evals.fitted import Fitted
    from evals.prepare import Prepared

# Two models far apart, whose predicted gap `complexity` is read off, and where they stand without outcomes.
REFERENCES: Final = (("claude-3-5-sonnet", 1.5), ("llama-3.1-8b", 0.0))
KIND_PROMPTS_MIN: Final = 20
# Kinds whose directions are as alike as this (cosine) are one kind.
ONE_KIND: Final = 0.9999
SAMPLE: Final = 4000
OUTPUT_TOKENS_MAX: Final = 4000
BYTES_PER_TOKEN: Final = 4
LENGTH_RIDGE: Final = 30.0


def arrays_of(prepared: Prepared, fitted: Fitted, rows: Any) -> dict[str, Any]:
    """Every array of the artifact that the fit alone gives, from the prompts it was fitted on."""
    network, dims = fitted.network, fitted.dims
    x = fitted.inputs([prepared.bare[row] for row in rows])
    kinds, centers = kinds_of(prepared.dataset, rows, x[:, :dims])
    abilities, slope, offset = abilities_of(prepared, fitted, x)
    carried = reference_lines(prepared, fitted, abilities, x)
    return {
        "buckets": fitted.lsa.buckets, "idf": fitted.lsa.idf, "basis_scale": fitted.scale,
        "basis": np.round(fitted.lsa.basis / fitted.scale).astype(np.int8),
        "center": fitted.center, "spread": fitted.spread,
        "hidden_w": network.hidden_w, "hidden_b": network.hidden_b,
        "skill_w": network.skill_w, "skill_b": network.skill_b, "slope": slope, "offset": offset,
        "own_slope": network.slope[fitted.usable], "own_offset": network.offset[fitted.usable],
        "reference_slope": carried[0], "reference_offset": carried[1],
        "length_w": length_weights(prepared, rows, x), "kind_centers": centers, "kinds": kinds, "abilities": abilities,
    }  # fmt: skip


def abilities_of(prepared: Prepared, fitted: Fitted, x: Any) -> tuple[dict[str, float], Any, Any]:
    """One ability a model, from its predicted mean on one common set of prompts, and lines from ability to a and b."""
    usable, network = fitted.usable, fitted.network
    mean = np.clip(network.quality(x[:: max(1, len(x) // SAMPLE)]).mean(0), 0.01, 0.99)
    theta = np.log(mean / (1 - mean))
    powers = np.stack([np.ones_like(theta), theta, theta**2], 1)[usable]
    slope = np.linalg.lstsq(powers[:, :2], network.slope[usable], rcond=None)[0]
    offset = np.linalg.lstsq(powers, network.offset[usable], rcond=None)[0]
    names = np.array(prepared.models)[usable]
    abilities = dict(zip(names.tolist(), theta[usable].tolist(), strict=True))
    return abilities, slope.astype(np.float32), offset.astype(np.float32)


def length_weights(prepared: Prepared, rows: Any, x: Any) -> Any:
    """A ridge from the network's inputs to the logarithm of the mean answer's tokens; the constant first."""
    chars = prepared.dataset.response_chars[rows]
    known = np.isfinite(chars).sum(1) > 0
    if not known.any():
        return np.concatenate([[np.log(200.0)], np.zeros(x.shape[1])]).astype(np.float32)
    logs = np.log(np.clip(np.nanmean(chars[known], 1) / BYTES_PER_TOKEN, 1, OUTPUT_TOKENS_MAX))
    ones = np.hstack([np.ones((len(logs), 1)), x[known]])
    return np.linalg.solve(ones.T @ ones + LENGTH_RIDGE * np.eye(ones.shape[1]), ones.T @ logs).astype(np.float32)


def kinds_of(dataset: Dataset, rows: Any, coordinates: Any) -> tuple[list[str], Any]:
    """Kinds of task by name, and the direction of each in the LSA's space.

    Two sources may hold the same prompts under two names (GSM8K). Their directions are one, and which is nearer would
    be decided by the last bit, another on each processor: the name of the source with more models stands for both,
    since more choices were calibrated there.
    """
    names = np.array([f"{prompt.source}:{prompt.category}" for prompt in dataset.prompts])[rows]
    found, counts = np.unique(names, return_counts=True)
    kinds = [str(name) for name, count in zip(found, counts, strict=True) if count >= min(KIND_PROMPTS_MIN, len(rows))]
    centers = np.stack([coordinates[names == kind].mean(0) for kind in kinds])
    centers = (centers / np.maximum(np.linalg.norm(centers, axis=1), 1e-6)[:, None]).astype(np.float32)
    answered = Counter(source for source, _ in dataset.columns)
    kept: list[int] = []
    for at in sorted(range(len(kinds)), key=lambda at: (-answered[kinds[at].split(":", 1)[0]], kinds[at])):
        if not kept or float((centers[kept] @ centers[at]).max()) < ONE_KIND:
            kept.append(at)
    kept.sort()
    return [kinds[at] for at in kept], centers[kept]


def reference_lines(prepared: Prepared, fitted: Fitted, abilities: dict[str, float], x: Any) -> tuple[Any, Any]:
    """Slopes (2, K) and offsets (2) of the two reference models, the stronger first, as complexity reads them."""
    _, slope, offset = abilities_of(prepared, replace(fitted, network=fitted.carried), x)
    at = np.array([abilities.get(ability_key(name), default) for name, default in REFERENCES], np.float32)
    powers = np.stack([np.ones_like(at), at, at**2], 1)
    return (powers[:, :2] @ slope).astype(np.float32), (powers @ offset).astype(np.float32)
