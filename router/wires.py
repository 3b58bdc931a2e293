"""What a vendor's wire cannot express, so that a request which needs it is not sent there.

A gap is only what would change the answer: fields that are advice (`store`, `service_tier`, `user`, ...) have none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from router.chat import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import Request, Wire

# Chat Completions fields that ask for something which another wire has no word for.
OPENAI_ONLY_FIELDS = ("logprobs", "logit_bias")
# No word of the answer changes by these.
ADVICE_FIELDS = frozenset(
    {"store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "top_logprobs"}
)
PENALTIES = ("frequency_penalty", "presence_penalty")
PLAIN_NAME = re.compile(r"[a-z0-9_]{1,40}")
TEXT_ONLY = ["text"]
# Fields that a host of that API answers with a 400. docs: OpenAI Compatibility (Groq), OpenAI Compatibility (Cerebras);
# `top_k` is a word of other APIs, and these take none that is not theirs.
HOST_REFUSES = {
    "openai": ("top_k",),
    "groq": ("top_k", "logprobs", "logit_bias"),
    "cerebras": ("top_k", "logit_bias", *PENALTIES, "parallel_tool_calls"),
}
# docs: Vision (Anthropic), Image understanding (Gemini).
IMAGE_TYPES = {
    "anthropic": frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}),
    "gemini": frozenset({"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"}),
}
ANTHROPIC_IMAGE_BASE64_MAX = 5 * 1024 * 1024
GEMINI_STOPS_MAX = 5


def wire_gaps(request: Request, wire: Wire) -> tuple[str, ...]:
    """Stable codes of what the request needs and the wire lacks; empty when it can be spoken whole."""
    if wire in ("openai", "litellm"):
        return ()
    gaps: list[str] = []
    if request.extra:
        gaps += _extra_gaps(request.extra)
    if request.images:
        gaps += _image_gaps(request, wire)
    gaps += _anthropic_gaps(request) if wire == "anthropic" else _gemini_gaps(request)
    return tuple(gaps)


def refused_gaps(request: Request, provider: str, refuses: frozenset[str]) -> tuple[str, ...]:
    """The same for a host of the wire, or a model by what its card ``refuses``: what would change the answer."""
    refused = HOST_REFUSES.get(provider, ())
    if not refused and not refuses:
        return ()
    sampling, extra = request.sampling, request.extra
    asked = {
        "stop": request.stop,
        "top_k": sampling.top_k is not None,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logprobs": extra.get("logprobs"),
        "logit_bias": extra.get("logit_bias"),
        "parallel_tool_calls": request.tools and request.allows_parallel_tools is False,
    }
    return tuple(name for name, is_asked in asked.items() if is_asked and (name in refused or name in refuses))


def _extra_gaps(extra: Mapping[str, object]) -> list[str]:
    """Fields that only a wire with the same words can be given; a name that is none in itself is not repeated."""
    gaps: list[str] = []
    for name, value in extra.items():
        is_asked = bool(value) if name in OPENAI_ONLY_FIELDS else value is not None and name not in ADVICE_FIELDS
        if is_asked and not (name == "modalities" and value == TEXT_ONLY):
            gaps.append(name if PLAIN_NAME.fullmatch(name) is not None else "unknown_field")
    return gaps


def _image_gaps(request: Request, wire: Wire) -> list[str]:
    images = request.images
    gaps: list[str] = []
    if any(image.data and image.media_type not in IMAGE_TYPES[wire] for image in images):
        gaps.append("image_type")
    if any(
        isinstance(part, Image) and message.role in ("system", "assistant")
        for message in request.messages
        for part in message.parts
    ):
        gaps.append("image_role")  # both take images from users and tools alone
    urls = [image.url for image in images if image.url is not None]
    if wire == "gemini":
        # generateContent takes bytes or its own files, it fetches no foreign address.
        return [*gaps, "image_url"] if urls else gaps
    if any(not url.startswith("https://") for url in urls):
        gaps.append("image_url")
    if any(image.data and len(image.data) > ANTHROPIC_IMAGE_BASE64_MAX for image in images):
        gaps.append("image_size")
    return gaps


def _anthropic_gaps(request: Request) -> list[str]:
    sampling = request.sampling
    gaps = [name for name in PENALTIES if getattr(sampling, name)]
    if sampling.seed is not None:
        gaps.append("seed")
    if any(not stop.strip() for stop in request.stop):
        gaps.append("stop_whitespace")  # refused there, and leaving it out would let the answer run on
    return gaps


def _gemini_gaps(request: Request) -> list[str]:
    # The third generation refuses penalties; the wire's older models, which took them, are on their way out.
    gaps = [name for name in PENALTIES if getattr(request.sampling, name)]
    if request.tools and request.allows_parallel_tools is False:
        gaps.append("parallel_tool_calls")  # it has no switch, and a client that asked for one call may drop the rest
    if len(request.stop) > GEMINI_STOPS_MAX:
        gaps.append("stop_count")
    return gaps
