"""The messages of a Chat Completions body as the hub's."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from router.chat import Image, Message, Text, ToolCall, ToolResult
from router.server.openai_fields import bad, list_of, name_of, object_of, optional_text_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import CacheTtl, Part, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
MESSAGES_MAX, PARTS_MAX, CALLS_MAX, CALL_ID_MAX, URL_MAX = 10_000, 10_000, 1_000, 512, 8_192
IMAGE_BYTES_MAX = 20_000_000
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
MEDIA_TYPES = {**{name: name for name in IMAGE_TYPES}, "image/jpg": "image/jpeg"}
DETAILS = ("auto", "low", "high")
WEB_ADDRESS = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
DATA_HEAD = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+);base64", re.IGNORECASE)
DATA_HEAD_MAX = 128


def parse_messages(value: object) -> tuple[Message, ...]:
    """All messages, in order. Raises RequestError naming the place, such as ``messages[2].content[0].type``."""
    items = list_of(value, "messages", MESSAGES_MAX)
    if not items:
        raise bad("messages", "must not be empty")
    calls = _Calls()
    found = tuple(_message(item, f"messages[{index}]", calls) for index, item in enumerate(items))
    calls.require_answered()
    return found


class _Calls:
    """The tool calls so far: an answer needs its call before it, and every call its answer behind it."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._open: dict[str, str] = {}

    def make(self, call_id: str, here: str) -> None:
        self._made.add(call_id)
        self._open[call_id] = here

    def answer(self, call_id: str, here: str) -> None:
        if call_id not in self._made:
            raise bad(f"{here}.tool_call_id", "answers no tool call of an earlier assistant message")
        self._open.pop(call_id, None)

    def require_answered(self) -> None:
        """Raise RequestError for a call that the conversation goes on without: no vendor takes that."""
        here = next(iter(self._open.values()), None)
        if here is not None:
            raise bad(here, "has no answer: a `tool` message with its id must follow, before anything else is said")


def _message(item: object, here: str, calls: _Calls) -> Message:
    message = object_of(item, here)
    word = text_of(message.get("role"), f"{here}.role")
    role = ROLES.get(word)
    if role is None:
        hint = "; `function` is the legacy form of `tool`" if word == "function" else ""
        raise bad(f"{here}.role", f"must be one of {', '.join(ROLES)}{hint}")
    optional_text_of(message.get("name"), f"{here}.name")
    if role == "tool":
        return _tool_message(message, here, calls)
    if role != "system":
        calls.require_answered()
    if role == "assistant":
        return _assistant_message(message, here, calls)
    return Message(role, _content(message, here, role))


def _tool_message(message: Mapping[str, object], here: str, calls: _Calls) -> Message:
    call_id = text_of(message.get("tool_call_id"), f"{here}.tool_call_id")
    calls.answer(call_id, here)
    parts = _content(message, here, "tool")
    return Message("tool", (ToolResult(call_id, tuple(part for part in parts if isinstance(part, Text | Image))),))


def _assistant_message(message: Mapping[str, object], here: str, calls: _Calls) -> Message:
    if message.get("function_call") is not None:
        raise bad(f"{here}.function_call", "is the legacy form: use `tool_calls`")
    if message.get("audio") is not None:
        raise bad(f"{here}.audio", "refers to audio that only its own vendor holds")
    made = _tool_calls(message.get("tool_calls"), f"{here}.tool_calls")
    for index, call in enumerate(made):
        calls.make(call.id, f"{here}.tool_calls[{index}]")
    refusal = optional_text_of(message.get("refusal"), f"{here}.refusal")
    parts: tuple[Part, ...] = ()
    if message.get("content") is not None:
        parts = _content(message, here, "assistant")
    elif refusal is not None:
        parts = (Text(refusal),)
    elif not made:
        raise bad(f"{here}.content", "is missing, and there are no tool calls either")
    return Message("assistant", (*parts, *made))


def _tool_calls(value: object, here: str) -> tuple[ToolCall, ...]:
    found: list[ToolCall] = []
    for index, item in enumerate(list_of(value, here, CALLS_MAX)):
        place = f"{here}[{index}]"
        call = object_of(item, place)
        if call.get("type", "function") != "function":
            raise bad(f"{place}.type", "must be `function`")
        call_id = text_of(call.get("id"), f"{place}.id")
        if not 0 < len(call_id) <= CALL_ID_MAX:
            raise bad(f"{place}.id", f"must have 1 to {CALL_ID_MAX} characters")
        function = object_of(call.get("function"), f"{place}.function")
        name = name_of(function.get("name"), f"{place}.function.name")
        found.append(ToolCall(call_id, name, text_of(function.get("arguments"), f"{place}.function.arguments")))
    return tuple(found)


def _content(message: Mapping[str, object], place: str, role: Role) -> tuple[Part, ...]:
    """The message's text or parts; a prompt-cache mark of the message itself is that of its one text."""
    value, here = message.get("content"), f"{place}.content"
    cache = cache_of(message.get("cache_control"), place)
    if isinstance(value, str):
        return (Text(value, cache),)
    if not isinstance(value, list):
        raise bad(here, "must be text or a list of parts")
    items = list_of(value, here, PARTS_MAX)
    if not items:
        raise bad(here, "must not be empty")
    if cache is not None:
        raise bad(f"{place}.cache_control", "stands beside several parts: set it at the one that it is for")
    return tuple(_part(item, f"{here}[{index}]", role) for index, item in enumerate(items))


def _part(item: object, here: str, role: Role) -> Part:
    part = object_of(item, here)
    kind = text_of(part.get("type"), f"{here}.type")
    if kind == "text":
        return Text(text_of(part.get("text"), f"{here}.text"), cache_of(part.get("cache_control"), here))
    if kind == "image_url" and role in ("user", "tool"):
        return _image(part.get("image_url"), f"{here}.image_url", cache_of(part.get("cache_control"), here))
    if kind == "refusal" and role == "assistant":
        return Text(text_of(part.get("refusal"), f"{here}.refusal"))
    kinds = {"user": "`text` or `image_url`", "tool": "`text` or `image_url`", "assistant": "`text` or `refusal`"}
    raise bad(f"{here}.type", f"must be {kinds.get(role, '`text`')} in a message of this role")


def cache_of(mark: object, here: str) -> CacheTtl | None:
    """How long a prompt-cache mark asks for. Raises RequestError naming the field."""
    if mark is None:
        return None
    ttl = object_of(mark, f"{here}.cache_control").get("ttl", "5m")
    if ttl == "5m":
        return "5m"
    if ttl == "1h":
        return "1h"
    raise bad(f"{here}.cache_control.ttl", "must be `5m` or `1h`")


def _image(value: object, here: str, cache: CacheTtl | None) -> Image:
    block = {"url": value} if isinstance(value, str) else object_of(value, here)
    url = text_of(block.get("url"), f"{here}.url")
    detail = optional_text_of(block.get("detail"), f"{here}.detail")
    if detail is not None and detail not in DETAILS:
        raise bad(f"{here}.detail", f"must be one of {', '.join(DETAILS)}")
    if len(url) <= URL_MAX and WEB_ADDRESS.fullmatch(url) is not None:
        return Image(url=url, detail=detail, cache=cache)
    head, comma, data = url.partition(",")
    match = DATA_HEAD.fullmatch(head) if comma and len(head) <= DATA_HEAD_MAX else None
    if match is None:
        raise bad(f"{here}.url", "must be an http(s) address or a data URL with base64")
    media_type = MEDIA_TYPES.get(match.group(1).lower())
    if media_type is None:
        raise bad(f"{here}.url", f"must hold one of {', '.join(IMAGE_TYPES)}")
    _require_base64(data, f"{here}.url")
    return Image(media_type=media_type, data=data, detail=detail, cache=cache)


def _require_base64(data: str, here: str) -> None:
    if len(data) * 3 // 4 > IMAGE_BYTES_MAX + 2:
        raise bad(here, f"holds more than {IMAGE_BYTES_MAX} bytes")
    try:
        size = len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise bad(here, "does not hold base64") from None
    if not 0 < size <= IMAGE_BYTES_MAX:
        raise bad(here, f"must hold 1 to {IMAGE_BYTES_MAX} bytes")
