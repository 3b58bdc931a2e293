"""Gradient boosted trees as arrays: fitted by scikit-learn, read in numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

ROUNDS: Final = 120
LEAVES: Final = 12


@dataclass(frozen=True, slots=True)
class Trees:
    """``feature``, ``limit``, ``left``, ``right``, ``value`` (trees, nodes): a node whose left is itself is a leaf."""

    start: float
    feature: Any
    limit: Any
    left: Any
    right: Any
    value: Any
    depth: int

    def predict(self, x: Any) -> Any:
        """The sum over all trees (n)."""
        found = np.full(len(x), self.start)
        at = np.arange(len(x))
        for feature, limit, left, right, value in zip(
            self.feature, self.limit, self.left, self.right, self.value, strict=True
        ):
            node = np.zeros(len(x), dtype=np.intp)
            for _ in range(self.depth):
                node = np.where(x[at, feature[node]] <= limit[node], left[node], right[node])
            found += value[node]
        return found


def fit_trees(x: Any, y: Any, *, seed: int = 0, rounds: int = ROUNDS) -> Trees:
    """Fit on inputs (n, I) and scores (n)."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted = HistGradientBoostingRegressor(
        max_iter=rounds, learning_rate=0.05, max_leaf_nodes=LEAVES, min_samples_leaf=40, l2_regularization=5.0,
        random_state=seed, max_features=0.3, early_stopping=False,
    ).fit(x, y)  # fmt: skip
    nodes = [each[0].nodes for each in fitted._predictors]  # noqa: SLF001  # no public door to the trees
    size = max(len(each) for each in nodes)
    arrays = {name: np.zeros((len(nodes), size)) for name in ("feature", "limit", "left", "right", "value")}
    for row, tree in enumerate(nodes):
        count, itself = len(tree), np.arange(len(tree))
        is_leaf = tree["is_leaf"].astype(bool)
        arrays["feature"][row, :count] = np.where(is_leaf, 0, tree["feature_idx"])
        arrays["limit"][row, :count] = np.where(is_leaf, 0.0, tree["num_threshold"])
        arrays["left"][row, :count] = np.where(is_leaf, itself, tree["left"])
        arrays["right"][row, :count] = np.where(is_leaf, itself, tree["right"])
        arrays["value"][row, :count] = np.where(is_leaf, tree["value"], 0.0)
    whole = {name: arrays[name].astype(np.intp) for name in ("feature", "left", "right")}
    depth = int(max(tree["depth"].max() for tree in nodes))
    start = float(np.ravel(fitted._baseline_prediction)[0])  # noqa: SLF001  # no public door to it either
    return Trees(start, limit=arrays["limit"], value=arrays["value"], depth=depth, **whole)
