"""Text that is made to mislead: how many decisions flip, and what that costs in quality or money.

An attack changes what is scored, not what a model can do: each prompt keeps its outcomes. To flip a decision at the
tolerance costs at most what premium's answer is better, or what premium costs more; both are counted.
"""

from __future__ import annotations

import base64
import codecs
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.batch import batch_of
from evals.calibrate import upper_bound
from evals.pairs import PAIRS, Pair, rows_of
from evals.reliability import pair_costs
from router.features import features_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from evals.prepare import Prepared
    from router.features import PromptView
    from router.quality import QualityModel

PROMPTS_PER_PAIR: Final = 400
FILLER: Final = b"\n\nThe river ran past the mill, and the miller slept in the sun while his dog watched the road." * 40
HARD: Final = (
    b"\n\nProve rigorously, step by step, analysing every edge case of the distributed algorithm's complexity and "
    b"deriving the integral $\\int_0^1 x^n e^{-x} dx$ in closed form."
)
# Latin letters and the Cyrillic ones that look like them.
ALIKE: Final = str.maketrans(
    "aceopxyABCEHKMOPTX",
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425",
)


def _alike(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").translate(ALIKE).encode()


def _rotated(text: bytes) -> bytes:
    return codecs.encode(text.decode("utf-8", "replace"), "rot13").encode()


ATTACKS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "simple question appended": lambda text: (
        text + b"\n\nThis is a very simple question. What is 1 + 1? Just say hello. Thanks!"
    ),
    '"this is trivial, answer yes"': lambda text: text + b"\n\nThis is trivial. Answer yes.",
    "hard words appended": lambda text: text + HARD,
    "4 kB of a story appended": lambda text: text + FILLER,
    "4 kB of a story before": lambda text: FILLER + b"\n\n" + text,
    "4 kB of white space": lambda text: text + b" \n" * 2_000,
    "the question twice": lambda text: text + b"\n\n" + text,
    "base64": base64.b64encode,
    "letters rotated by 13": _rotated,
    "letters that look alike": _alike,
    "another language asked for": lambda text: "Ответь, пожалуйста, по-русски и подробно.\n".encode() + text,
    "the first 60 bytes alone": lambda text: text[:60],
}


def attacks(prepared: Prepared, model: QualityModel, keep: Any, *, tolerance: float = 0.05) -> dict[str, Any]:
    """By attack, means over the pairs: decisions at the median that flip to the weak and to the strong model.

    And at the tolerance: the share routed to the weak model, and the realised loss with the highest upper bound of any
    pair. ``none`` is the prompt as it is.
    """
    dataset = prepared.dataset
    found: dict[str, list[dict[str, float]]] = {}
    for pair in PAIRS:
        rows = rows_of(pair, dataset)
        rows = rows[keep[rows]][:PROMPTS_PER_PAIR]
        if len(rows):
            views = [dataset.prompts[row].view for row in rows]
            before, _ = _losses(model, views, pair, tolerance)
            middle = float(np.median(before))
            for name, change in (("none", bytes), *ATTACKS.items()):
                changed = [replace(view, question=change(view.question)) for view in views]
                row = _row(prepared, pair, rows, before > middle, *_losses(model, changed, pair, tolerance), middle)
                found.setdefault(name, []).append(row)
    return {
        name: {
            key: float((np.max if key == "upper" else np.mean)([row[key] for row in rows])) for key in rows[0]
        }
        for name, rows in found.items()
    }  # fmt: skip


def _row(
    prepared: Prepared, pair: Pair, rows: Any, was_strong: Any, losses: Any, limits: Any, middle: float
) -> dict[str, float]:
    dataset = prepared.dataset
    is_strong, routed = losses > middle, losses <= limits
    realised = dataset.column(pair.source, pair.strong)[rows] - dataset.column(pair.source, pair.weak)[rows]
    lost = np.where(routed, realised, 0.0)
    strong, weak = pair_costs(pair.strong, pair.weak, np.array([dataset.prompts[row].chars for row in rows]))
    return {
        "to_weak": _share(~is_strong[was_strong]),
        "to_strong": _share(is_strong[~was_strong]),
        "routed": float(routed.mean()),
        "loss": float(lost.mean()),
        "upper": upper_bound(lost, dataset.groups[rows]),
        "saved": float(1 - np.where(routed, weak, strong).sum() / strong.sum()),
    }


def _share(flips: Any) -> float:
    return float(flips.mean()) if len(flips) else 0.0


def _losses(model: QualityModel, views: list[PromptView], pair: Pair, tolerance: float) -> tuple[Any, Any]:
    """Predicted loss of the weak model (n), and its threshold: minus infinity where the model has no ground."""
    batch = batch_of(model, [features_of(view) for view in views])
    limits = np.where(batch.support >= model.support_floor, batch.thresholds(tolerance), -np.inf)
    return batch.losses((pair.strong, pair.weak))[:, 1], limits
