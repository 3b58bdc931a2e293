"""What our router is judged beside: trivial scores, and LiteLLM's complexity router, the installed code itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evals.dataset import Dataset

LITELLM: Final = ("LiteLLM heuristic", "LiteLLM heuristic_v2")


def litellm_scorers() -> dict[str, Callable[[str], float]]:
    """LiteLLM's complexity router in both forms: the higher, the harder."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = litellm.Router(  # type: ignore[attr-defined]
        model_list=[{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}]
    )
    tiers = dict.fromkeys(("SIMPLE", "MEDIUM", "COMPLEX", "REASONING"), "m")
    first = ComplexityRouter("auto", router, complexity_router_config={"tiers": tiers}, default_model="m")
    second = ComplexityRouter(
        "auto", router, complexity_router_config={"tiers": tiers, "classifier_type": "heuristic_v2"}, default_model="m"
    )

    def v2(text: str) -> float:
        forecast: Any = second._classify_with_heuristic_v2(text).heuristic_v2_forecast  # noqa: SLF001  # no public door
        return -float(forecast["probabilities"]["SIMPLE"])

    return dict(zip(LITELLM, (lambda text: float(first.classify(text)[1]), v2), strict=True))


def litellm_scores(dataset: Dataset, rows: Any) -> dict[str, Any]:
    """Each form's score (prompts) at ``rows``, NaN elsewhere."""
    found = {}
    for name, scorer in litellm_scorers().items():
        scores = np.full(len(dataset.prompts), np.nan)
        for row in rows:
            scores[row] = scorer(dataset.prompts[row].view.question.decode("utf-8", "replace"))
        found[name] = scores
    return found


def category_prior(categories: Any, gain: Any, is_known: Any) -> Any:
    """The strong model's mean gain in each prompt's category over the known prompts; their mean for a new category."""
    overall = float(gain[is_known].mean()) if is_known.any() else 0.0
    prior = {name: float(gain[is_known & (categories == name)].mean()) for name in set(categories[is_known])}
    return np.array([prior.get(name, overall) for name in categories])


def simple_scores(dataset: Dataset, rows: Sequence[int]) -> dict[str, Any]:
    """A draw of chance, and the prompt's length."""
    return {
        "random": np.random.default_rng(0).random(len(rows)),
        "prompt length": np.array([float(len(dataset.prompts[row].view.question)) for row in rows]),
    }
