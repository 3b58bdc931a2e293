"""Reads the prompt of a Messages request block by block: its tokens, its cache breakpoints, its newest question."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from router.simulator.anthropic_checks import (
    BLOCK_FIELDS,
    BREAKPOINTS_MAX,
    IMAGE_BYTES_MAX,
    IMAGE_TYPES,
    MESSAGE_FIELDS,
    check_breakpoint,
    require_known,
)
from router.simulator.catalogue import Usage
from router.simulator.refusals import Body, invalid, require
from router.simulator.tokens import (
    MESSAGE_TOKENS,
    PDF_PAGE_BYTES,
    TOOLS_TOKENS,
    decoded,
    tokens_of_image,
    tokens_of_text,
)

if TYPE_CHECKING:
    from router.simulator.catalogue import Model
    from router.simulator.prefixes import PrefixCache

VENDOR = "anthropic"
LOOKBACK_BLOCKS = 20
TTL_S = {"5m": 300.0, "1h": 3600.0}
PDF_PAGE_TOKENS = 2000

# (hash of everything up to here, tokens up to here, lifetime asked for here)
Boundary = tuple[bytes, int, str | None]


class PromptReader:
    """Walks tools, system and messages in the order in which Anthropic's cache sees them."""

    def __init__(self, scope: bytes, *, is_cached: bool, has_vision: bool) -> None:
        """``scope`` separates customers and models in the cache; hashes are only computed when caching is asked for."""
        self.tokens = 3
        self.boundaries: list[Boundary] = []
        self.turns: list[tuple[str, list[Body]]] = []
        self._hash = hashlib.blake2b(scope, digest_size=16) if is_cached else None
        self._has_vision = has_vision

    def read_tools(self, tools: list[Body]) -> None:
        """Count the tools' definitions."""
        for index, tool in enumerate(tools):
            text = orjson.dumps({key: value for key, value in tool.items() if key != "cache_control"}).decode()
            tokens = tokens_of_text(text, VENDOR) + (TOOLS_TOKENS[VENDOR] if index == 0 else 0)
            self._step(text, tokens, tool, f"tools.{index}")

    def read_system(self, system: object) -> None:
        """Count the system prompt, a string or text blocks."""
        if system is None:
            return
        blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
        require(isinstance(blocks, list), "system: Input should be a valid list")
        for index, block in enumerate(blocks if isinstance(blocks, list) else []):
            place = f"system.{index}"
            require(isinstance(block, dict) and block.get("type") == "text", f"{place}: Input should be a text block")
            if isinstance(system, str) and not system:
                return
            self._read_block(block, place)

    def read_messages(self, messages: object, *, has_system_turns: bool) -> None:
        """Count the messages and collect them as turns, neighbours of one role merged as the vendor does."""
        require(isinstance(messages, list), "messages: Field required")
        listed: list[Body] = messages if isinstance(messages, list) else []
        require(listed, "messages: at least one message is required")
        for index, message in enumerate(listed):
            place = f"messages.{index}"
            require(isinstance(message, dict), f"{place}: Input should be a valid dictionary")
            require_known(message, MESSAGE_FIELDS, f"{place}.")
            role = message.get("role")
            known = ("user", "assistant", "system") if has_system_turns else ("user", "assistant")
            require(role in known, f"{place}.role: Input should be 'user' or 'assistant'")
            content = message.get("content")
            if isinstance(content, str):
                require(content or index == len(listed) - 1, f"{place}: {role} messages must have non-empty content")
                content = [{"type": "text", "text": content}]
            require(isinstance(content, list), f"{place}.content: Input should be a valid list")
            blocks: list[Body] = content if isinstance(content, list) else []
            is_last_assistant = role == "assistant" and index == len(listed) - 1
            require(blocks or is_last_assistant, f"{place}: {role} messages must have non-empty content")
            self.tokens += MESSAGE_TOKENS[VENDOR]
            for at, block in enumerate(blocks):
                require(isinstance(block, dict), f"{place}.content.{at}: Input should be a valid dictionary")
                self._read_block(block, f"{place}.content.{at}", role=str(role))
            if self.turns and (self.turns[-1][0] == role or role == "system"):
                self.turns[-1][1].extend(blocks)
            else:
                self.turns.append((str(role), list(blocks)))

    def question(self) -> str:
        """The newest text of a user, at most its last 4,000 characters."""
        for role, blocks in reversed(self.turns):
            if role == "user":
                text = "\n".join(str(b["text"]) for b in blocks if b["type"] == "text")
                if text:
                    return text[-4000:]
        return ""

    def mark_end(self, control: object) -> None:
        """Put a breakpoint on the last block: what a `cache_control` at the top level means."""
        ttl = check_breakpoint(control, "top")
        if self.boundaries:
            digest, tokens, _ = self.boundaries[-1]
            self.boundaries[-1] = (digest, tokens, ttl)

    def require_breakpoints(self) -> None:
        """Refuse more breakpoints than four, and a longer lifetime after a shorter one."""
        asked = [ttl for _, _, ttl in self.boundaries if ttl]
        message = f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. Found {len(asked)}."
        require(len(asked) <= BREAKPOINTS_MAX, message)
        message = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
        require("1h" not in asked[asked.index("5m") :] if "5m" in asked else True, message)

    def _read_block(self, block: Body, place: str, role: str = "user") -> None:
        kind = str(block.get("type"))
        require(
            kind in BLOCK_FIELDS,
            f"{place}.type: Input tag '{kind}' found using 'type' does not match any of the "
            f"expected tags: {', '.join(repr(known) for known in BLOCK_FIELDS)}",
        )
        require_known(block, BLOCK_FIELDS[kind], f"{place}.{kind}.")
        text, tokens = "", 0
        if kind == "text":
            text = block.get("text", "")
            require(isinstance(text, str), f"{place}.text.text: Input should be a valid string")
            require(text, "messages: text content blocks must be non-empty")
            require(not text.isspace(), "messages: text content blocks must contain non-whitespace text")
            tokens = tokens_of_text(text, VENDOR)
        elif kind in ("image", "document"):
            require(role == "user", f"{place}: {kind} blocks are only permitted in user messages")
            text, tokens = self._media(block, place)
        elif kind == "tool_use":
            require(role == "assistant", f"{place}: `tool_use` blocks can only be in `assistant` messages")
            is_sound = isinstance(block.get("id"), str) and isinstance(block.get("name"), str)
            require(is_sound and isinstance(block.get("input"), dict), f"{place}.tool_use.input: Field required")
            text = orjson.dumps([block["name"], block["input"]]).decode()
            tokens = 12 + tokens_of_text(text, VENDOR)
        elif kind == "tool_result":
            require(role == "user", f"{place}: `tool_result` blocks can only be in `user` messages")
            require(isinstance(block.get("tool_use_id"), str), f"{place}.tool_result.tool_use_id: Field required")
            text, tokens = self._tool_result(block, place)
        else:
            text = str(block.get("signature") or block.get("data") or "")
        self._step(text, tokens, block, place)

    def _tool_result(self, block: Body, place: str) -> tuple[str, int]:
        content = block.get("content", "")
        if isinstance(content, str):
            return content, 10 + tokens_of_text(content, VENDOR)
        require(isinstance(content, list), f"{place}.tool_result.content: Input should be a valid list")
        texts, tokens = "", 10
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text":
                require(part.get("text"), "messages: text content blocks must be non-empty")
                texts += str(part["text"])
                tokens += tokens_of_text(str(part["text"]), VENDOR)
            elif kind in ("image", "document"):
                text, count = self._media(part, place)
                texts, tokens = texts + text, tokens + count
            else:
                raise invalid(f"{place}.tool_result.content: Input should be text, image or document blocks")
        return texts, tokens

    def _media(self, block: Body, place: str) -> tuple[str, int]:
        kind, source = block["type"], block.get("source")
        require(isinstance(source, dict), f"{place}.{kind}.source: Field required")
        require(self._has_vision, f"{place}: {kind} input is not supported by this model")
        given: Body = source if isinstance(source, dict) else {}
        if given.get("type") == "url":
            url = str(given.get("url", ""))
            require(url.startswith("https://"), f"{place}.{kind}.source.url: Only HTTPS URLs are supported")
            return url, tokens_of_image(None, VENDOR)
        require(given.get("type") == "base64", f"{place}.{kind}.source.type: Input should be 'base64' or 'url'")
        data = decoded(str(given.get("data", "")))
        require(data, f"{place}.{kind}.source.base64.data: Invalid base64 data")
        data = data or b""
        if kind == "document":
            require(
                given.get("media_type") == "application/pdf", f"{place}.document.source.media_type: application/pdf"
            )
            return str(given["data"]), PDF_PAGE_TOKENS * (1 + len(data) // PDF_PAGE_BYTES)
        types = ", ".join(sorted(IMAGE_TYPES))
        require(
            str(given.get("media_type")) in IMAGE_TYPES,
            f"{place}.image.source.base64.media_type: Input should be {types}",
        )
        if len(str(given["data"])) > IMAGE_BYTES_MAX:
            raise invalid(
                f"{place}.image.source.base64: image exceeds 5 MB maximum: {len(data)} bytes > {IMAGE_BYTES_MAX} bytes"
            )
        return str(given["data"]), tokens_of_image(data, VENDOR)

    def _step(self, text: str, tokens: int, block: Body, place: str) -> None:
        self.tokens += tokens
        control = block.get("cache_control")
        ttl = check_breakpoint(control, place) if control is not None else None
        if self._hash is not None:
            self._hash.update(b"\x00" + text.encode("utf-8", "surrogatepass"))
            self.boundaries.append((self._hash.digest(), self.tokens, ttl))


def cached_usage(boundaries: list[Boundary], prompt_tokens: int, model: Model, cache: PrefixCache) -> Usage:
    """The prompt's buckets.

    The longest held prefix within 20 blocks of a breakpoint is read; the rest up to the last breakpoint is written, at
    the lifetime that each part asked for.
    """
    asked = [index for index, boundary in enumerate(boundaries) if boundary[2]]
    asked = [index for index in asked if boundaries[index][1] >= model.cache_tokens_min]
    if not asked or model.refuses("supports_prompt_caching"):
        return Usage(input_uncached=prompt_tokens)
    read = 0
    for last in reversed(asked):
        for index in range(last, max(-1, last - LOOKBACK_BLOCKS - 1), -1):
            if cache.touch(boundaries[index][0]):
                read = boundaries[index][1]
                break
        if read:
            break
    written = {"5m": 0, "1h": 0}
    reached = read
    for index in asked:
        digest, tokens, ttl = boundaries[index]
        if tokens > reached and ttl is not None:
            written[ttl] += tokens - reached
            reached = tokens
            cache.put(digest, TTL_S[ttl])
    return Usage(
        input_uncached=prompt_tokens - max(reached, read),
        cache_read=read,
        cache_write_5m=written["5m"],
        cache_write_1h=written["1h"],
    )
