"""A request as the guards see it: digests of its turns, and nothing that could be read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.chat import Image, Text, ToolCall, ToolResult
from router.guards.fingerprints import PIECES_MAX, digest, mixed, pieces
from router.guards.opaque import without_ids
from router.guards.volatile import bare, normalised
from router.prompt import is_tool_turn, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.chat import Message, Part, Request
    from router.guards.volatile import Stamp

TurnKind: TypeAlias = Literal["user", "tool", "other"]
PREFIXES_MAX = 48
OPENING_TURNS_MAX = 3
TEMPLATES_MAX = 1_024
PATTERN, BARE, TURN = 1, 2, 3
HEAD_CHARS = 1_024
MODELS_KEPT = 4_096
# A longer text of arguments is not parsed to be put in order: it is taken as the model wrote it.
ARGUMENTS_CHARS_MAX = 65_536
ERROR_CHARS = 200
ERROR_WORDS = ("error", "exception", "traceback", "failed", "failure", "not found", "denied", "timed out", "timeout")


@dataclass(frozen=True, slots=True)
class Reading:
    """The digests of one request.

    ``whole`` stands for all of it but the system prompt; ``pattern`` for the same with times and counters out of the
    newest turn, ``bare`` with every number and id out, 0 where it has none. ``turn`` is the newest turn alone, for a
    tool's the tool's name, arguments and result; ``outline`` the same without opaque ids, 0 where it is no tool's;
    ``call`` the name and arguments. ``prefixes`` stand for what the request begins with, after each of its last 48
    messages, the last for all of it. ``head`` is 0 for a short turn. Sizes are characters. ``plain`` is the newest turn
    without its times and counters: it is not kept.
    """

    whole: int
    pattern: int
    bare: int
    turn: int
    outline: int
    call: int
    kind: TurnKind
    head: int
    stamps: tuple[Stamp, ...]
    prefixes: tuple[int, ...]
    said: tuple[int, ...]
    turn_chars: int
    said_chars: int
    is_error: bool
    is_opening: bool
    plain: str = field(compare=False, repr=False)


def reading_of(request: Request, key: bytes) -> Reading:
    """What guards remember of a request; linear in its text."""
    messages = [each for each in request.messages if each.role != "system"]
    model = _model_of(key, request.model)
    prefixes, mark = [], model
    for message in messages:
        mark = mixed(mark, digest(key, message.role, *_words_of(message.parts)))
        prefixes.append(mark)
    start = _newest_start(messages)
    newest = messages[start:]
    context = prefixes[start - 1] if start else 0
    calls = _calls_of(messages[start - 1]) if start else {}
    kind: TurnKind = "other" if not newest else "tool" if is_tool_turn(newest[-1]) else "user"
    text = "\n".join([_turn_text(each, calls) for each in newest])
    plain, stamps = normalised(text)
    without = text if plain is text else bare(text)
    images = digest(key, _images_of(newest)) if request.images else 0
    turn = digest(key, plain)
    called = sorted(f"{name} {arguments}" for name, arguments in calls.values()) if kind == "tool" else []
    said = [each for each in messages if each.role == "assistant"][-4:]
    outlined = without_ids(plain, "\n".join(called), [*_systems(request), *messages[: start - 1]]) if called else plain
    is_text = kind == "user" and len(text) > HEAD_CHARS
    return Reading(
        whole=mark,
        pattern=mixed(PATTERN, model, context, turn, images),
        bare=0 if without is plain else mixed(BARE, model, context, digest(key, without), images),
        turn=mixed(TURN, turn, images),
        outline=0 if kind != "tool" else mixed(TURN, turn if outlined is plain else digest(key, outlined), images),
        call=digest(key, "call", *called) if called else 0,
        kind=kind,
        head=digest(key, "head", request.model, text[:HEAD_CHARS]) if is_text else 0,
        stamps=stamps,
        prefixes=tuple(prefixes[-PREFIXES_MAX:]),
        said=tuple([said_digest(key, each.parts) for each in said]),
        turn_chars=len(text),
        said_chars=chars_of(said[-1].parts) if said else 0,
        is_error=kind == "tool" and _is_error(newest),
        is_opening=not said,
        plain=plain,
    )


def _systems(request: Request) -> Iterable[Message]:
    return (each for each in request.messages if each.role == "system")


@lru_cache(maxsize=MODELS_KEPT)
def _model_of(key: bytes, model: str) -> int:
    return digest(key, model)


def said_digest(key: bytes, parts: Iterable[Part]) -> int:
    """An answer's digest, the same whether a vendor has just given it or a client sends it back."""
    texts, calls = [], []
    for part in parts:
        if isinstance(part, Text) and part.text.strip():
            texts.append(part.text.strip())
        elif isinstance(part, ToolCall):
            calls.append(f"{part.name} {canonical(part.arguments)}")
    return digest(key, "said", *texts, *calls)


def answer_pieces(key: bytes, parts: Iterable[Part]) -> tuple[int, ...]:
    """Digests of an answer's pieces, those in the arguments of its tool calls included."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, ToolCall):
            texts += _strings_in(part.arguments)
    return pieces(key, texts)


def prompt_pieces(request: Request, key: bytes, templates: dict[int, tuple[int, ...]]) -> Iterable[int]:
    """Digests of the pieces of what a conversation opens with: its newest user turn and its system prompt.

    System prompts come again and again, so ``templates`` keeps the pieces of some of them, by their digest.
    """
    found: list[int] = []
    for each in [each for each in reversed(request.messages) if each.role in ("user", "system")][:OPENING_TURNS_MAX]:
        text = text_of(each.parts)
        if each.role == "user":
            found += pieces(key, [text])
            continue
        name = digest(key, text)
        known = templates.get(name)
        if known is None:
            if len(templates) >= TEMPLATES_MAX:
                templates.clear()
            known = templates[name] = pieces(key, [text])
        found += known
    return found[:PIECES_MAX]


def canonical(arguments: str) -> str:
    """A tool's arguments with their keys in order, so that spacing and order make no difference."""
    if len(arguments) > ARGUMENTS_CHARS_MAX:
        return arguments
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments


def _newest_start(messages: list[Message]) -> int:
    """Where the newest turn begins: the tool results that answer one message are one turn."""
    start = max(len(messages) - 1, 0)
    if messages and is_tool_turn(messages[start]):
        while start and is_tool_turn(messages[start - 1]):
            start -= 1
    return start


def _words_of(parts: Iterable[Part]) -> list[str]:
    found: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            found.append(part.text)
        elif isinstance(part, ToolCall):
            found += ["call", part.name, part.arguments]
        elif isinstance(part, ToolResult):
            found += ["result", *_words_of(part.parts)]
        elif isinstance(part, Image):
            found += ["image", part.url or part.data or ""]
    return found


def _calls_of(message: Message) -> Mapping[str, tuple[str, str]]:
    return {part.id: (part.name, canonical(part.arguments)) for part in message.parts if isinstance(part, ToolCall)}


def _turn_text(message: Message, calls: Mapping[str, tuple[str, str]]) -> str:
    found: list[str] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            found += [*calls.get(part.call_id, ("", "")), text_of(part.parts)]
        elif isinstance(part, Text):
            found.append(part.text)
    return "\n".join(found)


def _images_of(messages: list[Message]) -> str:
    found = [word for each in messages for word in _words_of(each.parts) if isinstance(word, str)]
    has_image = any(
        isinstance(part, Image) or (isinstance(part, ToolResult) and any(isinstance(p, Image) for p in part.parts))
        for each in messages
        for part in each.parts
    )
    return "\n".join(found) if has_image else ""


def chars_of(parts: Iterable[Part]) -> int:
    """How long an answer is: its text and the arguments of its tool calls."""
    return sum(
        len(part.text) if isinstance(part, Text) else len(part.arguments) if isinstance(part, ToolCall) else 0
        for part in parts
    )


def _is_error(newest: list[Message]) -> bool:
    results = [part for each in newest for part in each.parts if isinstance(part, ToolResult)]
    return bool(results) and all(
        each.is_error or any(word in text_of(each.parts)[:ERROR_CHARS].lower() for word in ERROR_WORDS)
        for each in results
    )


def _strings_in(arguments: str) -> list[str]:
    """The texts of JSON arguments; the text itself where it is no JSON."""
    if len(arguments) > ARGUMENTS_CHARS_MAX:
        return [arguments]
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return [arguments]
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found
