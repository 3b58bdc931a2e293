"""Conversations as Anthropic takes them: alternating turns, results first, ids in its alphabet and said once."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from router.chat import Image, Text, Thinking, ToolCall, ToolResult
from router.providers.turns import OPENING, arguments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.chat import CacheTtl, Message, Part

FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


def tool_id_of(call_id: str) -> str:
    """A tool id in the alphabet that Anthropic accepts; ids that differ stay different."""
    clean = FOREIGN.sub("_", call_id)
    return clean if clean == call_id and clean else f"{clean or 'call'}_{zlib.crc32(call_id.encode()):08x}"


class Renderer:
    """Renders one conversation. Some vendors' ids come again in a later turn: a call's id is made unique here."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._used: set[str] = set()
        self._times: dict[str, int] = {}
        self.has_spoken_system = False

    def turns(self, messages: Sequence[Message], system: Sequence[Text]) -> list[dict[str, object]]:
        """Turns that start with a user. Neighbours of one role are merged, and tool results lead their turn.

        With nothing but a system prompt, that is what the user says (`has_spoken_system`).
        """
        turns: list[tuple[str, list[dict[str, object]]]] = []
        for message in messages:
            role = "assistant" if message.role == "assistant" else "user"
            blocks = [block for part in message.parts if (block := self._block(part)) is not None]
            if not blocks:
                continue
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(blocks)
            else:
                turns.append((role, blocks))
        if not turns and system:
            self.has_spoken_system = True
            turns.append(("user", [self.text(part) for part in system]))
        if not turns or turns[0][0] == "assistant":
            turns.insert(0, ("user", [{"type": "text", "text": OPENING}]))
        if turns[-1][0] == "assistant":
            _strip_end(turns[-1][1])
        return [{"role": role, "content": _results_first(blocks)} for role, blocks in turns]

    @staticmethod
    def text(part: Text) -> dict[str, object]:
        """A text block with its cache mark."""
        return marked({"type": "text", "text": part.text}, part.cache)

    def _block(self, part: Part) -> dict[str, object] | None:
        """One part as a content block; None for what this API refuses: empty text, foreign thoughts."""
        match part:
            case Text():
                return self.text(part) if part.text.strip() else None
            case Image(url=str(url)):
                return marked({"type": "image", "source": {"type": "url", "url": url}}, part.cache)
            case Image():
                source = {"type": "base64", "media_type": part.media_type, "data": part.data}
                return marked({"type": "image", "source": source}, part.cache)
            case ToolCall():
                return {"type": "tool_use", "id": self._new_id(part.id), "name": part.name, "input": arguments_of(part)}
            case ToolResult():
                return self._result(part)
            case Thinking(vendor="anthropic", signature=str(signature)):
                return {"type": "thinking", "thinking": part.text, "signature": signature}
            case _:
                return None

    def _result(self, part: ToolResult) -> dict[str, object]:
        """A cache mark inside stands on the result itself, where the API takes it."""
        found: dict[str, object] = {
            "type": "tool_result",
            "tool_use_id": self._ids.get(part.call_id) or tool_id_of(part.call_id),
        }
        content: list[dict[str, object]] = []
        for inner in part.parts:
            block = self._block(inner)
            if block is not None:
                block.pop("cache_control", None)
                content.append(block)
            marked(found, inner.cache)
        if content:
            found["content"] = content
        if part.is_error:
            found["is_error"] = True
        return found

    def _new_id(self, call_id: str) -> str:
        base = found = tool_id_of(call_id)
        # The count goes on where it stood: a body may hold one id millions of times.
        again = self._times.get(base, 1)
        while found in self._used:
            again += 1
            found = f"{base}_{again}"
        self._times[base] = again
        self._used.add(found)
        self._ids[call_id] = found
        return found


def marked(block: dict[str, object], cache: CacheTtl | None) -> dict[str, object]:
    """The block, with a prompt-cache mark where one was asked for."""
    if cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": cache}
    return block


def _results_first(blocks: list[dict[str, object]]) -> list[dict[str, object]]:
    results = [each for each in blocks if each["type"] == "tool_result"]
    return [*results, *(each for each in blocks if each["type"] != "tool_result")] if results else blocks


def _strip_end(blocks: list[dict[str, object]]) -> None:
    """A prefill must not end in white space."""
    last = blocks[-1]
    if last["type"] == "text":
        last["text"] = str(last["text"]).rstrip()
