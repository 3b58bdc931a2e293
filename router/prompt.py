"""What scoring and counting may look at: a request reduced to texts, sizes and counts.

Stated treatment of what is more than one question: the newest user turn is the ``question``; ``system`` holds every
system and developer message; ``history`` the end of what was said before, tool results included, since a short
follow-up is as hard as what it follows. Images, tools and their schemas are counted, never read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.chat import Image, Text, ToolCall, ToolResult
from router.features import PromptView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.chat import Message, Part, Request

HISTORY_BYTES_MAX = 8_192
CODE_MARKS = b"{}();=<>[]_\\"
# Prose holds about one such mark in a hundred bytes, code one in eight: the share is scaled so that code reads as 1.
CODE_MARKS_FULL_SHARE = 0.125
CODE_SAMPLE_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a request weighs, in the units that token counts are derived from.

    ``text_bytes`` is the UTF-8 size of all text, tool calls and results included; ``system_bytes``, ``results_bytes``
    and ``question_bytes`` are parts of it. Shares are in 0..1.
    """

    text_bytes: int
    non_ascii_share: float
    code_share: float
    messages: int
    tools_bytes: int
    images: int
    system_bytes: int = 0
    results_bytes: int = 0
    question_bytes: int = 0


def encode_text(text: str) -> bytes:
    """UTF-8 bytes of any string, lone surrogates replaced: scoring must not fail on what JSON lets through."""
    return text.encode("utf-8", "replace")


def text_of(parts: Iterable[Part]) -> str:
    """The text of the parts, one line each, tool calls and results included, images and thinking left out."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            found.append(part.text)
        elif isinstance(part, ToolCall):
            found.append(f"{part.name} {part.arguments}")
        elif isinstance(part, ToolResult):
            found.append(text_of(part.parts))
    return "\n".join(found)


def is_tool_turn(message: Message) -> bool:
    """Whether the message only carries tool results."""
    return message.role == "tool" or (
        bool(message.parts) and all(isinstance(part, ToolResult) for part in message.parts)
    )


def tools_bytes_of(request: Request) -> int:
    """The size of the tools' names, descriptions and schemas as compact JSON, in bytes."""
    return sum(
        len(tool.name) + len(tool.description or "") + len(json.dumps(tool.parameters, separators=(",", ":")))
        for tool in request.tools
    )


def question_index_of(messages: tuple[Message, ...]) -> int | None:
    """Where the newest turn that a user wrote stands; None when no user has written anything."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user" and not is_tool_turn(message):
            return index
    return None


def history_of(messages: tuple[Message, ...], question_index: int | None) -> bytes:
    """The last bytes of everything but the system prompt and the question, newest kept, at most 8 KiB."""
    kept: list[bytes] = []
    room = HISTORY_BYTES_MAX
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if index == question_index or message.role == "system":
            continue
        text = text_of(message.parts)
        # Four bytes a character at most: cut before encoding, so that a megabyte of history costs no more than its end.
        data = encode_text(text[-room:])[-room:]
        kept.append(data)
        room -= len(data) + 1
        if room <= 0:
            break
    kept.reverse()
    return b"\n".join(kept)


def prompt_view_of(request: Request, sizes: Sizes) -> PromptView:
    """The view that features are computed from."""
    messages = request.messages
    index = question_index_of(messages)
    question = encode_text(text_of(messages[index].parts)) if index is not None else b""
    system = b"\n".join(encode_text(text_of(each.parts)) for each in messages if each.role == "system")
    response_format = request.response_format
    return PromptView(
        question=question,
        system=system,
        history=history_of(messages, index),
        n_turns=sum(1 for each in messages if each.role == "user" and not is_tool_turn(each)),
        n_messages=len(messages),
        n_tools=len(request.tools),
        tool_schema_bytes=sizes.tools_bytes,
        n_tool_results=sum(isinstance(part, ToolResult) for each in messages for part in each.parts),
        n_images=sizes.images,
        has_response_schema=response_format is not None and response_format.kind == "json_schema",
        input_bytes=sizes.text_bytes + sizes.tools_bytes,
    )


def code_share_of(sample: bytes) -> float:
    """How code-like the text is, 0..1, from the share of marks that code is full of and prose is not."""
    if not sample:
        return 0.0
    marks = len(sample) - len(sample.translate(None, CODE_MARKS))
    return min(1.0, marks / len(sample) / CODE_MARKS_FULL_SHARE)


def sizes_of(request: Request) -> Sizes:
    """What the request weighs; linear in its size, with no Python work per character."""
    chars = text_bytes = images = system = results = question = 0
    sample = b""
    question_index = question_index_of(request.messages)
    for index, message in enumerate(request.messages):
        text = text_of(message.parts)
        data = encode_text(text)
        chars += len(text)
        text_bytes += len(data)
        if index == question_index:
            question = len(data)
        elif message.role == "system":
            system += len(data)
        elif is_tool_turn(message):
            results += len(data)
        sample = data if len(data) >= len(sample) else sample
        for part in message.parts:
            if isinstance(part, Image):
                images += 1
            elif isinstance(part, ToolResult):
                images += sum(isinstance(inner, Image) for inner in part.parts)
    return Sizes(
        text_bytes=text_bytes,
        non_ascii_share=(text_bytes - chars) / text_bytes if text_bytes else 0.0,
        code_share=code_share_of(sample[:CODE_SAMPLE_BYTES]),
        messages=len(request.messages),
        tools_bytes=tools_bytes_of(request) if request.tools else 0,
        images=images,
        system_bytes=system,
        results_bytes=results,
        question_bytes=question,
    )
