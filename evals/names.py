"""Which outcome columns are one and the same model: names as the origins wrote them, onto one key each."""

from __future__ import annotations

from typing import Final

_SAME: Final[dict[str, str]] = {
    "claude-3-5-haiku-20241022": "claude-3-5-haiku",
    "claude-3-opus-20240229": "claude-3-opus",
    "claude-3-haiku-20240307": "claude-3-haiku",
    "claude-3-sonnet-20240229": "claude-3-sonnet",
    "claude-3-5-sonnet-20240620": "claude-3-5-sonnet-0620",
    "claude-3-5-sonnet-20241022": "claude-3-5-sonnet",
    "gemini-1.5-pro-api-0514": "gemini-1.5-pro",
    "gemini-1.5-flash-api-0514": "gemini-1.5-flash",
    "gpt-4-0125-preview": "gpt-4-turbo-0125",
    "gpt-4-1106-preview": "gpt-4-turbo-1106",
    "gpt-4-turbo": "gpt-4-turbo-1106",
    "Llama-3.1-405B-Inst@sambanova": "llama-3.1-405b",
    "Llama-3.1-405B-Inst-fp8@together": "llama-3.1-405b",
    "Llama-3.1-405B-Inst@hyperbolic": "llama-3.1-405b",
    "llama-3.1-405b-instruct": "llama-3.1-405b",
    "Meta-Llama-3.1-70B-Instruct": "llama-3.1-70b",
    "Meta-Llama-3_1-70B-Instruct": "llama-3.1-70b",
    "llama-3.1-70b-instruct": "llama-3.1-70b",
    "Meta-Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Meta-Llama-3_1-8B-Instruct": "llama-3.1-8b",
    "llama-3.1-8b-instruct": "llama-3.1-8b",
    "Meta-Llama-3-70B-Instruct": "llama-3-70b",
    "llama-3-70b-instruct": "llama-3-70b",
    "Meta-Llama-3-8B-Instruct": "llama-3-8b",
    "llama-3-8b-instruct": "llama-3-8b",
    "Llama-2-70b-chat": "llama-2-70b",
    "Meta-Llama-3-8B": "llama-3-8b-base",
    "Meta-Llama-3-70B": "llama-3-70b-base",
    "Meta-Llama-3_1-8B": "llama-3.1-8b-base",
    "Meta-Llama-3_1-70B": "llama-3.1-70b-base",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
    "Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
    "qwen2.5-7b-instruct": "qwen2.5-7b",
    "Qwen2.5-7B-Instruct": "qwen2.5-7b",
    "gemma-2-9b-it": "gemma-2-9b",
    "gemma-2-27b-it": "gemma-2-27b",
    "Mistral-Nemo-Instruct-2407": "mistral-nemo",
    "Mistral-Large-2": "mistral-large-2407",
    "Starling-LM-7B-alpha": "starling-lm-7b-alpha",
}


def outcome_key(name: str) -> str:
    """The key of an outcome column's model; dated twins and hosts of one model share it."""
    return _SAME.get(name, name.rsplit("/", maxsplit=1)[-1].lower())
