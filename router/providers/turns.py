"""What every wire renders a conversation from: its turns, without what was dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from router.chat import Text

if TYPE_CHECKING:
    from router.chat import Message, Request, ToolCall
    from router.ports import Call

# Anthropic's and Gemini's conversations start with a user; where the caller's starts otherwise, this stands first.
OPENING = "."


def turns_of(call: Call) -> tuple[Message, ...]:
    """The messages that are no system prompt; a prefill that the model refuses is left out when policy dropped it."""
    messages = [message for message in call.request.messages if message.role != "system"]
    if "assistant_prefill" in call.dropped:
        while messages and messages[-1].role == "assistant":
            messages.pop()
    return tuple(messages)


def system_parts_of(request: Request) -> list[Text]:
    """The texts of every system and developer message, in order, the empty ones left out."""
    return [
        part
        for message in request.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text.strip()
    ]


def arguments_of(call: ToolCall) -> dict[str, object]:
    """A call's arguments as an object; text that a model wrote as something else is kept under one name."""
    try:
        parsed = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        return {"arguments": call.arguments}
    return parsed if isinstance(parsed, dict) else {"arguments": parsed}
