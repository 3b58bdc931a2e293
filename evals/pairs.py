"""The strong/weak pairs that routers are judged on, in named groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evals.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Pair:
    """One strong and one weak model of a source; ``category_prefix`` narrows to a part of it."""

    group: str
    source: str
    strong: str
    weak: str
    category_prefix: str = ""


_GPT4: Final = "gpt-4-1106-preview"
_MIXTRAL: Final = "mistralai/Mixtral-8x7B-Instruct-v0.1"
_SONNET: Final = "claude-3-5-sonnet-20241022"
_8B: Final = "Meta-Llama-3.1-8B-Instruct"
_GEMINI_PRO: Final = "gemini-1.5-pro-002"
PAIRS: Final = (
    Pair("GPT-4 / Mixtral, MMLU", "routellm", _GPT4, _MIXTRAL, "mmlu"),
    Pair("GPT-4 / Mixtral, GSM8K", "routellm", _GPT4, _MIXTRAL, "gsm8k"),
    Pair("Claude 3.5 Sonnet / Haiku", "zeroeval", _SONNET, "claude-3-5-haiku-20241022"),
    Pair("Gemini 1.5 Pro / Flash", "zeroeval", "gemini-1.5-pro", "gemini-1.5-flash"),
    Pair("Llama 405B / 8B", "zeroeval", "Llama-3.1-405B-Inst-fp8@together", _8B),
    Pair("Sonnet / Llama 8B", "zeroeval", _SONNET, _8B),
    Pair("Gemini Pro / Flash, MMLU-Pro", "mmlu_pro", _GEMINI_PRO, "gemini-1.5-flash-002"),
    Pair("Llama 70B / 8B, MMLU-Pro", "mmlu_pro", "Meta-Llama-3_1-70B-Instruct", "Meta-Llama-3_1-8B-Instruct"),
    Pair("Gemini Pro / Llama 8B, MMLU-Pro", "mmlu_pro", _GEMINI_PRO, "Meta-Llama-3_1-8B-Instruct"),
    Pair("Sonnet / Llama 70B, Arena-Hard", "arena_hard_v01", "claude-3-5-sonnet-20240620", "llama-3.1-70b-instruct"),
)


def rows_of(pair: Pair, dataset: Dataset) -> NDArray[np.intp]:
    """Indices of the prompts that both models of a pair answered with a score."""
    if (pair.source, pair.strong) not in dataset.columns or (pair.source, pair.weak) not in dataset.columns:
        return np.empty(0, dtype=np.intp)
    both = np.isfinite(dataset.column(pair.source, pair.strong)) & np.isfinite(dataset.column(pair.source, pair.weak))
    inside = np.array([prompt.category.startswith(pair.category_prefix) for prompt in dataset.prompts])
    return np.flatnonzero(both & inside)
