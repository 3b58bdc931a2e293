"""Reads the prompt of a generateContent request: its tokens, its turns, its newest question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from router.simulator.gemini_checks import IMAGE_TYPES, PART, camel_keys, require_known
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

VENDOR = "google"
PDF_PAGE_TOKENS = 258


@dataclass(slots=True)
class Prompt:
    """A conversation that was read."""

    tokens: int = 0
    turns: list[tuple[str, list[Body]]] = field(default_factory=list)

    def question(self) -> str:
        """The newest text of a user, at most its last 4,000 characters."""
        for role, parts in reversed(self.turns):
            text = "\n".join(str(part["text"]) for part in parts if "text" in part)
            if role != "model" and text:
                return text[-4000:]
        return ""


def read_prompt(body: Body, model: Model, declared: list[Body], prompt: Prompt) -> None:
    """Count the prompt and collect its turns."""
    if declared:
        require(not model.refuses("supports_function_calling"), "Function calling is not enabled for this model")
        prompt.tokens += TOOLS_TOKENS[VENDOR] + sum(tokens_of_text(orjson.dumps(t).decode(), VENDOR) for t in declared)
    system = body.get("systemInstruction")
    if system is not None:
        require(not model.refuses("supports_system_messages"), "Developer instruction is not enabled for this model")
        _read_content(system, model, "system_instruction", prompt)
    contents = body.get("contents")
    is_sound = isinstance(contents, list) and contents
    require(is_sound, "* GenerateContentRequest.contents: contents is not specified")
    for index, content in enumerate(contents or []):
        place = f"contents[{index}]"
        parts = _read_content(content, model, place, prompt)
        role = content.get("role", "user")
        require(role in ("user", "model", "function", "tool"), "Please use a valid role: user, model.")
        if role == "model" and prompt.turns and prompt.turns[-1][0] == "model":
            prompt.turns[-1][1].extend(parts)
        else:
            prompt.turns.append((role, parts))


def _read_content(content: object, model: Model, place: str, prompt: Prompt) -> list[Body]:
    given = require_known(content, frozenset({"role", "parts"}), place)
    parts = given.get("parts")
    parts = [parts] if isinstance(parts, dict) else parts
    is_sound = isinstance(parts, list) and parts
    require(is_sound, f"* GenerateContentRequest.{place}.parts: contents.parts must not be empty.")
    prompt.tokens += MESSAGE_TOKENS[VENDOR]
    made = []
    for index, part in enumerate(parts or []):
        known = require_known(part, PART, f"{place}.parts[{index}]")
        prompt.tokens += _part_tokens(known, model, f"{place}.parts[{index}]")
        made.append(known)
    return made


def _part_tokens(part: Body, model: Model, place: str) -> int:
    if "text" in part:
        require(isinstance(part["text"], str), f"Invalid value at '{place}' (text), TYPE_STRING")
        return tokens_of_text(part["text"], VENDOR)
    if "inlineData" in part or "fileData" in part:
        return _media_tokens(part, model, place)
    for key in ("functionCall", "functionResponse"):
        if key in part:
            call = camel_keys(part[key]) if isinstance(part[key], dict) else {}
            message = f"* GenerateContentRequest.{place}.{key}.name: Name cannot be empty."
            require(isinstance(call.get("name"), str) and call["name"], message)
            value = call.get("args" if key == "functionCall" else "response", {})
            require(
                isinstance(value, dict),
                f"Invalid value at '{place}.{key}' (type.googleapis.com/google.protobuf.Struct)",
            )
            return 8 + tokens_of_text(orjson.dumps(value).decode(), VENDOR)
    require(
        part.get("thought") or "thoughtSignature" in part,
        f"* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field",
    )
    return 0


def _media_tokens(part: Body, model: Model, place: str) -> int:
    key = "inlineData" if "inlineData" in part else "fileData"
    blob = camel_keys(part[key]) if isinstance(part[key], dict) else {}
    mime = str(blob.get("mimeType"))
    if key == "fileData":
        require(isinstance(blob.get("fileUri"), str) and blob["fileUri"], f"Invalid value at '{place}.file_data'")
        return tokens_of_image(None, VENDOR)
    is_sound = mime in IMAGE_TYPES or mime == "application/pdf"
    require(is_sound, f"Unsupported MIME type: {mime}")
    has_vision = not model.flags or model.offers("supports_vision")
    require(has_vision, "Image input modality is not enabled for this model")
    data = decoded(str(blob.get("data", "")))
    if not data:
        raise invalid(f"Invalid value at '{place}.inline_data.data' (TYPE_BYTES), Base64 decoding failed")
    return tokens_of_image(data, VENDOR) if mime in IMAGE_TYPES else PDF_PAGE_TOKENS * (1 + len(data) // PDF_PAGE_BYTES)
