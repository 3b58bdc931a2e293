"""What a vendor's wire cannot express, so that a request which needs it is not sent there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.chat import Request, Wire

# Chat Completions fields that ask for something which another wire has no word for. Fields that are only advice
# (`store`, `service_tier`, `user`, ...) are not here: leaving them out changes no answer.
OPENAI_ONLY_FIELDS = ("logprobs", "logit_bias", "audio", "modalities", "prediction", "web_search_options")
ANTHROPIC_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def wire_gaps(request: Request, wire: Wire) -> tuple[str, ...]:
    """Stable codes of what the request needs and the wire lacks; empty when it can be spoken whole."""
    if wire in ("openai", "litellm"):
        return ()
    gaps = [name for name in OPENAI_ONLY_FIELDS if request.extra.get(name)]
    images = request.images
    if wire == "gemini" and any(image.url is not None for image in images):
        gaps.append("image_url")  # generateContent takes bytes or its own files, it fetches no foreign address
    if wire == "anthropic" and any(image.data and image.media_type not in ANTHROPIC_IMAGE_TYPES for image in images):
        gaps.append("image_type")
    sampling = request.sampling
    if wire == "anthropic":
        gaps += [name for name in ("frequency_penalty", "presence_penalty", "seed") if getattr(sampling, name)]
    return tuple(gaps)
