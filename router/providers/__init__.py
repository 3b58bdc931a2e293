"""The vendors: the only package that knows their wires, and the only one that may import litellm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.providers.anthropic import AnthropicProvider
from router.providers.gemini import GeminiProvider
from router.providers.http import open_session
from router.providers.long_tail import LongTailProvider
from router.providers.openai import OpenAiProvider

if TYPE_CHECKING:
    import aiohttp

    from router.chat import Wire
    from router.ports import Provider


def providers_of(session: aiohttp.ClientSession) -> dict[Wire, Provider]:
    """A provider for each wire, over one pool of connections."""
    return {
        "openai": OpenAiProvider(session),
        "anthropic": AnthropicProvider(session),
        "gemini": GeminiProvider(session),
        "litellm": LongTailProvider(),
    }


__all__ = ["open_session", "providers_of"]
