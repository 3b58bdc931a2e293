"""A request as the guards see it: digests of its turns, and nothing that could be read back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.chat import Image, Text, ToolCall, ToolResult
from router.guards.arguments import canonical, strings_in
from router.guards.fingerprints import PIECES_MAX, digest, mixed, pieces
from router.guards.opaque import without_ids, without_nonces
from router.guards.outcomes import is_empty, is_error, nothing_new
from router.guards.volatile import STAMPS_MAX, bare, ids_stamp, normalised, western
from router.prompt import encode_text, is_tool_turn, text_of

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
# Whoever answers in fewer characters says what others say too.
SAID_CHARS_MIN = 20
# What only lets somebody see a picture for a while: of Amazon, Google, Azure, CloudFront and their like.
SIGNED = re.compile(
    r"(?<=[?&])(?:x-(?:amz|goog)-[a-z-]+|awsaccesskeyid|googleaccessid|key-pair-id|signature|policy|expires|token|hmac"
    r"|sig|se|st|ske|skt)=[^&#]*&?",
    re.IGNORECASE,
)
Systems: TypeAlias = "dict[int, tuple[int, tuple[Stamp, ...]]]"


@dataclass(frozen=True, slots=True)
class Reading:
    """The digests of one request.

    ``whole`` stands for all of it; once something was answered, without the system prompt. ``pattern`` stands for the
    same with times, counters and opaque ids out of the newest turn and the system prompt; ``bare`` with every number
    out, 0 where the turn has none. ``turn`` is the newest turn alone, for a tool's the tool's name, arguments and
    result; ``outline`` the same without opaque ids, 0 where there is no such difference to make; ``call`` the name and
    arguments. ``prefixes`` stand for what the request begins with, after each of its last 48 messages, the last for all
    of it. ``said`` are the last four answers, 0 for one so short that anybody may have said it. ``head`` is 0 for a
    short turn. Sizes are bytes of UTF-8: what takes three of them says more than a letter does. ``plain`` is the newest
    turn without its times and counters, ``system_name`` the system prompt's digest: neither is kept.
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
    system_name: int


def reading_of(request: Request, key: bytes, systems: Systems | None = None, now_s: float = 0.0) -> Reading:
    """What guards remember of a request; linear in its text. ``systems`` keeps what system prompts look like."""
    messages = [each for each in request.messages if each.role != "system"]
    model = _model_of(key, request.model)
    system_name, system, told = _system_of(request, key, systems if systems is not None else {})
    prefixes, mark, is_begun = [], model, False
    for message in messages:
        mark = mixed(mark, digest(key, message.role, *_words_of(message.parts)))
        is_begun = is_begun or message.role == "assistant"
        prefixes.append(mark if is_begun else mixed(mark, system))
    start = _newest_start(messages)
    newest = messages[start:]
    context = prefixes[start - 1] if start else 0
    calls = _calls_of(messages[start - 1]) if start else {}
    kind: TurnKind = "other" if not newest else "tool" if is_tool_turn(newest[-1]) else "user"
    text = western("\n".join([_turn_text(each, calls) for each in newest]))
    plain, stamps = normalised(text, now_s if kind == "tool" else None)
    images = digest(key, *_images_of(newest)) if request.images else 0
    turn = name = digest(key, plain)
    if kind == "tool":
        told_before = [*_systems(request), *messages[: start - 1]]
        nameless, outlined = _tool_turn(plain, newest, calls, told_before, now_s)
    else:
        nameless = outlined = without_nonces(plain)
        if nameless is not plain:
            name, stamps = digest(key, nameless), (*stamps[: STAMPS_MAX - 2], ids_stamp(turn))
    without = bare(nameless)
    said = [each for each in messages if each.role == "assistant"][-4:]
    return Reading(
        whole=prefixes[-1] if prefixes else model,
        pattern=mixed(PATTERN, model, context, name, images, system),
        bare=0 if without is text else mixed(BARE, model, context, digest(key, without), images, system),
        turn=mixed(TURN, turn, images),
        outline=0
        if outlined is plain and kind != "tool"
        else mixed(TURN, turn if outlined is plain else digest(key, outlined), images),
        call=digest(key, "call", *_called(calls)) if calls and kind == "tool" else 0,
        kind=kind,
        head=digest(key, "head", request.model, text[:HEAD_CHARS]) if kind == "user" and len(text) > HEAD_CHARS else 0,
        stamps=(*told, *stamps)[-STAMPS_MAX:],
        prefixes=tuple(prefixes[-PREFIXES_MAX:]),
        said=tuple([_said_of(key, each.parts) for each in said]),
        turn_chars=_size_of(text),
        said_chars=chars_of(said[-1].parts) if said else 0,
        is_error=kind == "tool" and is_error(newest),
        is_opening=not said,
        plain=plain,
        system_name=system_name,
    )


def _tool_turn(
    plain: str, newest: list[Message], calls: Mapping[str, tuple[str, str]], before: list[Message], now_s: float
) -> tuple[str, str]:
    """The turn without opaque ids, and what of it could be new: less, where it is an error or an empty page."""
    nameless = without_ids(plain, "\n".join(_called(calls)), before) if calls else plain
    has_failed = is_error(newest)
    if has_failed or is_empty(newest):
        return nameless, nothing_new(newest, calls, now_s, is_error=has_failed)
    return nameless, nameless


def _called(calls: Mapping[str, tuple[str, str]]) -> list[str]:
    return sorted(f"{name} {arguments}" for name, arguments in calls.values())


def _systems(request: Request) -> Iterable[Message]:
    return (each for each in request.messages if each.role == "system")


def _system_of(request: Request, key: bytes, systems: Systems) -> tuple[int, int, tuple[Stamp, ...]]:
    """Its digest, what it says without times, counters and ids, and the times that it names.

    A task, a tenant's data or a document may stand there: then the same words of a user are another request. It comes
    again and again, so ``systems`` keeps some, by their digest.
    """
    texts = [text_of(each.parts) for each in _systems(request)]
    if not texts:
        return 0, 0, ()
    name = digest(key, *texts)
    known = systems.get(name)
    if known is None:
        if len(systems) >= TEMPLATES_MAX:
            systems.clear()
        plain, stamps = normalised(western("\n".join(texts)))
        known = systems[name] = digest(key, bare(without_nonces(plain))), stamps[: STAMPS_MAX // 2]
    return name, *known


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


def _said_of(key: bytes, parts: Iterable[Part]) -> int:
    parts = tuple(parts)
    is_short = chars_of(parts) < SAID_CHARS_MIN and not any(isinstance(part, ToolCall) for part in parts)
    return 0 if is_short else said_digest(key, parts)


def answer_pieces(key: bytes, parts: Iterable[Part]) -> tuple[int, ...]:
    """Digests of an answer's pieces, those in the arguments of its tool calls included."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, ToolCall):
            texts += strings_in(part.arguments)
    return pieces(key, texts)


def prompt_pieces(
    request: Request, key: bytes, templates: dict[int, tuple[int, ...]], system_name: int
) -> Iterable[int]:
    """Digests of the pieces of what a conversation opens with: its newest user turn and its system prompt.

    System prompts come again and again, so ``templates`` keeps the pieces of some of them, by their digest:
    ``system_name`` where there is one.
    """
    is_alone = sum(each.role == "system" for each in request.messages) == 1
    found: list[int] = []
    for each in [each for each in reversed(request.messages) if each.role in ("user", "system")][:OPENING_TURNS_MAX]:
        text = text_of(each.parts)
        if each.role == "user":
            found += pieces(key, [text])
            continue
        name = system_name if is_alone else digest(key, text)
        known = templates.get(name)
        if known is None:
            if len(templates) >= TEMPLATES_MAX:
                templates.clear()
            known = templates[name] = pieces(key, [text])
        found += known
    return found[:PIECES_MAX]


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


def _images_of(messages: list[Message]) -> list[str]:
    """The pictures of the newest turn, by their data or their address without what only signs it."""
    return [
        each.data or SIGNED.sub("", each.url or "")
        for message in messages
        for part in message.parts
        for each in ([part] if isinstance(part, Image) else part.parts if isinstance(part, ToolResult) else [])
        if isinstance(each, Image)
    ]


def _size_of(text: str) -> int:
    return len(text) if text.isascii() else len(encode_text(text))


def chars_of(parts: Iterable[Part]) -> int:
    """How long an answer is: its text and the arguments of its tool calls."""
    return sum(
        _size_of(part.text) if isinstance(part, Text) else _size_of(part.arguments) if isinstance(part, ToolCall) else 0
        for part in parts
    )
