"""What scoring may look at in a request, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptView:
    """A request as scoring sees it; texts are bytes, UTF-8 where the caller sent sound text.

    ``question`` is the newest user turn, ``history`` the earlier turns' text, oldest first and bounded by whoever
    builds the view, ``n_turns`` counts user turns, ``input_bytes`` the whole request's text.
    """

    question: bytes
    system: bytes = b""
    history: bytes = b""
    n_turns: int = 1
    n_messages: int = 1
    n_tools: int = 0
    tool_schema_bytes: int = 0
    n_tool_results: int = 0
    n_images: int = 0
    has_response_schema: bool = False
    input_bytes: int = 0
