"""List prices of the models in the outcomes, for cost-quality curves over what was on sale when they were measured."""

from __future__ import annotations

from typing import Final

# USD per million input and output tokens, list prices of late 2024: Anthropic's and Google's own (Gemini up to 128k),
# Together's for Llama. They only order and weigh the curve; nothing in the gateway reads them.
USD_PER_MTOK: Final[dict[str, tuple[float, float]]] = {
    "claude-3-haiku-20240307": (0.25, 1.25),
    "claude-3-sonnet-20240229": (3.0, 15.0),
    "claude-3-opus-20240229": (15.0, 75.0),
    "claude-3-5-sonnet-20240620": (3.0, 15.0),
    "claude-3-5-sonnet-20241022": (3.0, 15.0),
    "claude-3-5-haiku-20241022": (0.80, 4.0),
    "gemini-1.5-pro": (1.25, 5.0),
    "gemini-1.5-pro-002": (1.25, 5.0),
    "gemini-1.5-flash": (0.075, 0.30),
    "gemini-1.5-flash-002": (0.075, 0.30),
    "gemini-1.5-flash-8b": (0.0375, 0.15),
    "Meta-Llama-3-8B-Instruct": (0.20, 0.20),
    "Meta-Llama-3.1-8B-Instruct": (0.18, 0.18),
    "Meta-Llama-3-70B-Instruct": (0.90, 0.90),
    "Meta-Llama-3.1-70B-Instruct": (0.88, 0.88),
    "Llama-3.1-405B-Inst-fp8@together": (3.50, 3.50),
    "Meta-Llama-3_1-8B-Instruct": (0.18, 0.18),
    "Meta-Llama-3_1-70B-Instruct": (0.88, 0.88),
}
CHARS_PER_TOKEN: Final = 4.0
# Where an answer's length is not known: what the models of these sources write on average.
OUTPUT_CHARS_DEFAULT: Final = 900.0
# The models of a source that a router may choose among, scored over the same prompts.
PORTFOLIOS: Final[dict[str, tuple[str, ...]]] = {
    "zeroeval": (
        "claude-3-5-sonnet-20241022",
        "claude-3-5-haiku-20241022",
        "claude-3-haiku-20240307",
        "gemini-1.5-pro",
        "gemini-1.5-flash",
        "Llama-3.1-405B-Inst-fp8@together",
        "Meta-Llama-3.1-70B-Instruct",
        "Meta-Llama-3.1-8B-Instruct",
    ),
    "mmlu_pro": (
        "gemini-1.5-pro-002",
        "gemini-1.5-flash-002",
        "Meta-Llama-3_1-70B-Instruct",
        "Meta-Llama-3_1-8B-Instruct",
    ),
}
PREMIUM: Final = {"zeroeval": "claude-3-5-sonnet-20241022", "mmlu_pro": "gemini-1.5-pro-002"}
USUAL_PROMPT_CHARS: Final = 600.0


def usual_cost_usd(name: str) -> float:
    """What a prompt and an answer of usual length cost on a model, in USD."""
    asked, answered = USD_PER_MTOK[name]
    return (asked * USUAL_PROMPT_CHARS + answered * OUTPUT_CHARS_DEFAULT) / CHARS_PER_TOKEN / 1e6
