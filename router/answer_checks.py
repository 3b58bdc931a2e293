"""Checks on a finished answer: signs that it cannot be of use, seen without asking any other model.

A check that reacts wrongly costs the price of a second answer, so each leaves alone whatever a good answer might look
like. None of them judges whether an answer is right.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from router.chat import Text, ToolCall
from router.json_shape import fits_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from router.chat import Reply, Request
    from router.policy import Check

REFUSAL_CHARS_MAX = 400
"""A longer answer that begins like a refusal goes on to help."""

LOOP_WINDOW_CHARS = 40
LOOP_CHARS_MIN = 800
LOOP_CHARS_READ = 8_000
LOOP_SHARE = 0.8
LOOP_SHARE_CUT_OFF = 0.7
"""Share of windows seen before, from which a text is a loop: less is needed where it ran into its output limit."""

_NOT = r"(?:can(?:no|')?t|can not|am unable to|'m unable to|am not able to|'m not able to|won't)"
_HELP = r"(?:help|assist|comply|fulfil+|answer|do|provide|support|continue|engage|discuss)"
_WITH_THAT = r"(?:with |to )?(?:that|this|your request|the request|any)\b"
_SORRY = r"(?:(?:i'm|i am) (?:very |really )?sorry|sorry|i apologi[sz]e)"
REFUSALS = (
    # English
    rf"(?:{_SORRY},? ?)?(?:but )?(?:unfortunately,? )?i ?{_NOT} {_HELP} (?:you )?{_WITH_THAT}",
    rf"{_SORRY},? (?:but )?i ?{_NOT} (?:assist|comply|help)\b",
    # German, French, Spanish, Italian, Portuguese, Dutch
    r"(?:es )?tut mir (?:sehr )?leid,? (?:aber )?(?:dabei|damit|das|hierbei|bei (?:dieser|ihrer) anfrage) kann ich",
    r"(?:dabei|damit|hierbei) kann ich (?:dir|ihnen|euch)? ?(?:leider )?nicht (?:weiter)?helfen",
    r"(?:je suis )?d[ée]sol[ée]e?,? (?:mais )?je ne (?:peux|puis) pas (?:vous |t')?(?:aider|r[ée]pondre|fournir)",
    r"je ne (?:peux|puis) pas (?:vous |t')?aider (?:[àa] (?:cela|[çc]a)|avec (?:cela|[çc]a|cette demande))",
    r"lo siento,? (?:pero )?no puedo (?:ayudar(?:te|le)?|responder|proporcionar|cumplir)",
    r"mi dispiace,? (?:ma )?non posso (?:aiutar(?:ti|la)|rispondere|fornire|soddisfare)",
    r"(?:desculpe|sinto muito|lamento),? (?:mas )?n[ãa]o posso (?:ajudar|responder|fornecer|atender)",
    r"(?:het spijt me|sorry),? (?:maar )?(?:daar|hier) kan ik (?:je|u)? ?niet (?:mee|bij) helpen",
    # Chinese, Japanese
    r"很?抱歉,? ?我(?:无法|不能)(?:提供|协助|帮助|回答|满足)",
    r"申し訳(?:ありません|ございません)が、?(?:その|この)?(?:ご要望|ご依頼|質問)?(?:には|に)?お(?:応え|答え|手伝い)できません",
)
PLAIN_MARKS = str.maketrans({"\u2019": "'", "\uff0c": ","})
REFUSAL = re.compile("|".join(f"(?:{each})" for each in REFUSALS), re.IGNORECASE)


def failed_check(
    reply: Reply,
    request: Request,
    verify: Iterable[Check],
    confidence_min: float = 0.0,
    *,
    is_doubted: bool = False,
) -> Check | None:
    """The first of the named checks that the answer fails; None where it passes them all.

    ``is_doubted`` is what `router.verifier` says of it. ``agreement`` needs a second answer (`router.agreement`) and is
    not among them.
    """
    for name in verify:
        if name == "logprobs":
            is_failed = is_unsure(reply, confidence_min)
        elif name == "verifier":
            is_failed = is_doubted
        else:
            is_failed = name in CHECKS and CHECKS[name](reply, request)
        if is_failed:
            return name
    return None


def is_unsure(reply: Reply, confidence_min: float) -> bool:
    """Whether the geometric mean of its tokens' probabilities is below the bound; not where the vendor gave none.

    The mean and not the product, which is the smaller the longer the answer (Gupta et al., Language Model Cascades:
    Token-Level Uncertainty and Beyond, ICLR 2024).
    """
    # Logarithms are compared: what a vendor calls one may be a number that has no exponential.
    return reply.mean_logprob is not None and confidence_min > 0 and reply.mean_logprob < math.log(confidence_min)


def is_refusal(reply: Reply, request: Request) -> bool:  # noqa: ARG001  # every check is asked alike
    """Whether the vendor's filter ended it, or a short answer begins with one of the usual refusals."""
    if reply.finish_reason == "content_filter":
        return True
    if _calls_of(reply):
        return False
    text = _text_of(reply).strip().lstrip("*_\"'“> ")
    return len(text) <= REFUSAL_CHARS_MAX and REFUSAL.match(text.translate(PLAIN_MARKS)) is not None


def is_truncated(reply: Reply, request: Request) -> bool:
    """Whether it ends at a limit that is not the caller's own."""
    if reply.finish_reason != "length":
        return False
    limit = request.output_tokens_max
    if limit is None:
        return True
    return reply.usage is not None and reply.usage.tokens.output_tokens < limit


def breaks_schema(reply: Reply, request: Request) -> bool:
    """Whether JSON was asked for and the text is none, or not of the schema.

    An answer by tool calls, and one that was cut off or filtered, is not judged here.
    """
    wanted = request.response_format
    if (
        wanted is None
        or wanted.kind == "text"
        or _calls_of(reply)
        or reply.finish_reason in ("length", "content_filter")
    ):
        return False
    is_json, value = _decoded(_text_of(reply))
    if not is_json or (wanted.kind == "json_object" and not isinstance(value, dict)):
        return True
    return wanted.schema is not None and not fits_shape(value, wanted.schema)


def breaks_tool_call(reply: Reply, request: Request) -> bool:
    """Whether a call names no tool of the request, or its arguments are no JSON object or lack a required property."""
    if reply.finish_reason == "length":
        return False
    tools = {tool.name: tool for tool in request.tools}
    for call in _calls_of(reply):
        if call.name not in tools:
            return True
        is_json, value = _decoded(call.arguments or "{}")
        required = tools[call.name].parameters.get("required")
        if not is_json or not isinstance(value, dict):
            return True
        if isinstance(required, list) and any(isinstance(name, str) and name not in value for name in required):
            return True
    return False


def is_empty(reply: Reply, request: Request) -> bool:
    """Whether there is neither a word nor a call where one was due.

    Silence is a good answer after a tool's result, and may be the caller's doing where a stop text or an output limit
    was given.
    """
    if _calls_of(reply) or _text_of(reply).strip() or reply.finish_reason == "content_filter":
        return False
    if request.stop or (reply.finish_reason == "length" and request.output_tokens_max is not None):
        return False
    return not request.messages or request.messages[-1].role != "tool"


def is_looping(reply: Reply, request: Request) -> bool:  # noqa: ARG001  # every check is asked alike
    """Whether most of the end of a long text repeats what the text said before, letter by letter."""
    text = _text_of(reply)[-LOOP_CHARS_READ:]
    if len(text) < LOOP_CHARS_MIN:
        return False
    windows = len(text) - LOOP_WINDOW_CHARS + 1
    different = len({text[start : start + LOOP_WINDOW_CHARS] for start in range(windows)})
    limit = LOOP_SHARE_CUT_OFF if reply.finish_reason == "length" else LOOP_SHARE
    return 1 - different / windows >= limit


CHECKS: Mapping[Check, Callable[[Reply, Request], bool]] = {
    "refusal": is_refusal,
    "truncation": is_truncated,
    "schema": breaks_schema,
    "tool_call": breaks_tool_call,
    "empty": is_empty,
    "looping": is_looping,
}


def _text_of(reply: Reply) -> str:
    return "".join([part.text for part in reply.parts if isinstance(part, Text)])


def _calls_of(reply: Reply) -> list[ToolCall]:
    return [part for part in reply.parts if isinstance(part, ToolCall)]


def _decoded(text: str) -> tuple[bool, object]:
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None
