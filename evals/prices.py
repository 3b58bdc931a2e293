"""List prices of the models in the outcomes, for cost-quality curves over what was on sale when they were measured.

They only order and weigh the curve; nothing in the gateway reads them. Each figure stands in a public price map: those
of Anthropic's models and of Llama on Together still stand in the pinned map that the package ships, under the name
given here; Gemini 1.5 (up to 128k) is no longer there, and was read off LiteLLM's map at an earlier commit.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class ListPrice(NamedTuple):
    """USD per million input and output tokens, and the entry of the price map that says so."""

    input_usd: float
    output_usd: float
    listed_as: str
    is_pinned: bool = True


# Of LiteLLM's `model_prices_and_context_window.json`, for the entries that the pinned map does not hold any more.
EARLIER_MAP: Final = "BerriAI/litellm at 19a1f629eb6fafde70968ef4815463eb08143aac"

_PRO: Final = ListPrice(1.25, 5.0, "gemini-1.5-pro-002", is_pinned=False)
_FLASH: Final = ListPrice(0.075, 0.30, "gemini-1.5-flash-002", is_pinned=False)
_TOGETHER: Final = "together_ai/meta-llama"
_LLAMA_8B: Final = ListPrice(0.18, 0.18, f"{_TOGETHER}/Meta-Llama-3.1-8B-Instruct-Turbo")
_LLAMA_70B: Final = ListPrice(0.88, 0.88, f"{_TOGETHER}/Meta-Llama-3.1-70B-Instruct-Turbo")
LISTED: Final[dict[str, ListPrice]] = {
    "claude-3-haiku-20240307": ListPrice(0.25, 1.25, "vertex_ai/claude-3-haiku@20240307"),
    "claude-3-5-sonnet-20241022": ListPrice(3.0, 15.0, "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    "claude-3-5-haiku-20241022": ListPrice(0.80, 4.0, "anthropic.claude-3-5-haiku-20241022-v1:0"),
    "gemini-1.5-pro": ListPrice(1.25, 5.0, "gemini-1.5-pro", is_pinned=False),
    "gemini-1.5-pro-002": _PRO,
    "gemini-1.5-flash": _FLASH,
    "gemini-1.5-flash-002": _FLASH,
    "Meta-Llama-3.1-8B-Instruct": _LLAMA_8B,
    "Meta-Llama-3_1-8B-Instruct": _LLAMA_8B,
    "Meta-Llama-3.1-70B-Instruct": _LLAMA_70B,
    "Meta-Llama-3_1-70B-Instruct": _LLAMA_70B,
    "Llama-3.1-405B-Inst-fp8@together": ListPrice(3.50, 3.50, f"{_TOGETHER}/Llama-3.1-405B-Instruct"),
}
USD_PER_MTOK: Final = {name: (each.input_usd, each.output_usd) for name, each in LISTED.items()}
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
