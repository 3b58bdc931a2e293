"""What a simulated model answers: a length, some text or tool calls, reasoning, and why it stopped.

Lengths follow the chat service's hour counted in the traffic data (p10 24, p50 350, p99 1,120 output tokens),
moved by the model's verbosity; how long the answer to a question is depends mostly on the question, so the same prompt
draws similar lengths from every vendor. Other constants are the simulator's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from math import exp
from typing import TYPE_CHECKING, Any, Literal

import orjson

from router.simulator.instances import instance_of
from router.simulator.refusals import invalid
from router.simulator.tokens import bytes_of_tokens, tokens_of_answer
from router.simulator.traffic import OUTPUT_QUANTILES, quantile_of
from router.simulator.words import arithmetic_answer, composed_text, name_words, verdict_answer, words_of

if TYPE_CHECKING:
    from random import Random

    from router.simulator.catalogue import Model

VERBOSITY: dict[str, float] = {"anthropic": 1.25, "google": 1.0, "openai": 1.0}
REASONING_TOKENS_MEDIAN = 260
TOOL_SHARE_AFTER_RESULT = 0.15
TOOL_SHARE_UNPROMPTED = 0.35

Finish = Literal["stop", "length", "stop_sequence", "tool", "refusal"]
REFUSAL_TEXT = "I can't help with that request."


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the caller offers."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model makes; ``arguments`` as the caller's schema asks, ``text`` the same as JSON."""

    name: str
    arguments: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as any vendor understands it, read and accepted by one wire.

    ``tool_mode`` is auto, any or none; ``tool_names`` narrows it. ``output_tokens_max`` holds for text and reasoning
    together. ``options`` is for the wire that read it.
    """

    vendor: str
    model: Model
    prompt_tokens: int
    question: str
    output_tokens_max: int
    is_stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_mode: str = "auto"
    tool_names: frozenset[str] = frozenset()
    is_parallel: bool = True
    is_after_tool: bool = False
    schema: dict[str, Any] | None = None
    stops: tuple[str, ...] = ()
    effort: float = 0.0
    choices: int = 1
    prefix: Any = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished generation, billed for ``text_tokens`` + ``reasoning_tokens``."""

    text: str
    calls: tuple[ToolCall, ...]
    text_tokens: int
    reasoning_tokens: int
    finish: Finish
    stop_sequence: str | None = None


def drawn_answer(ask: Ask, draw: Random, seed: int, answer_tokens: int | None = None) -> Answer:
    """Generate: reasoning first, then tool calls, a structured answer or prose, within the caller's limit.

    ``answer_tokens`` fixes the length of prose, for benchmarks.
    """
    reasoning = 0
    if ask.effort > 0:
        reasoning = max(16, int(REASONING_TOKENS_MEDIAN * ask.effort * _noise(draw, 0.9)))
        reasoning = min(reasoning, ask.output_tokens_max)
    room = ask.output_tokens_max - reasoning
    calls = _drawn_calls(ask, draw)
    if calls:
        tokens = sum(12 + tokens_of_answer(call.name + call.text, ask.vendor) for call in calls)
        if tokens <= room:
            return Answer("", calls, tokens, reasoning, "tool")
        return Answer("", (), room, reasoning, "length")
    if ask.schema is not None:
        text = orjson.dumps(_instance(ask.schema, draw, ask.question)).decode()
    else:
        text = _drawn_prose(ask, draw, seed, answer_tokens)
    return _within(ask, text, reasoning, room)


def refused_answer(ask: Ask) -> Answer:
    """The model declines: a few tokens, whatever was asked."""
    tokens = min(ask.output_tokens_max, tokens_of_answer(REFUSAL_TEXT, ask.vendor))
    return Answer(REFUSAL_TEXT, (), tokens, 0, "refusal")


def truncated_answer(ask: Ask, answer: Answer) -> Answer:
    """The same answer cut short, as if it had met its output limit."""
    kept = answer.text[: max(1, len(answer.text) // 3)]
    tokens = tokens_of_answer(kept, ask.vendor) if kept else max(1, answer.text_tokens // 3)
    return replace(answer, text=kept, calls=(), text_tokens=tokens, finish="length", stop_sequence=None)


def empty_answer() -> Answer:
    """The model ends its turn at once, with nothing said and nothing billed but the prompt."""
    return Answer("", (), 0, 0, "stop")


def _noise(draw: Random, sigma: float) -> float:
    """A lognormal factor of median 1, within three sigma."""
    return exp(min(3.0, max(-3.0, draw.gauss(0.0, 1.0))) * sigma)


def _within(ask: Ask, text: str, reasoning: int, room: int) -> Answer:
    """Cut the text at the first stop sequence and at the room that is left."""
    finish: Finish = "stop"
    met: str | None = None
    for stop in ask.stops:
        at = text.find(stop)
        if at >= 0:
            text, finish, met = text[:at], "stop_sequence", stop
    tokens = tokens_of_answer(text, ask.vendor)
    if tokens > room or room == 0:
        return Answer(text[: bytes_of_tokens(room, ask.vendor)], (), room, reasoning, "length")
    return Answer(text, (), tokens, reasoning, finish, met)


def _drawn_prose(ask: Ask, draw: Random, seed: int, answer_tokens: int | None) -> str:
    if answer_tokens is not None:
        return composed_text(draw, bytes_of_tokens(answer_tokens, ask.vendor))
    exact = verdict_answer(ask.question) or arithmetic_answer(ask.question)
    if exact is not None:
        return exact
    digest = hashlib.blake2b(f"{seed}:{ask.question}".encode("utf-8", "surrogatepass"), digest_size=7).digest()
    typical = quantile_of(OUTPUT_QUANTILES, int.from_bytes(digest, "big") / 2**56)
    tokens = typical * VERBOSITY[ask.vendor] * _noise(draw, 0.25)
    # the counted tokens are of a Llama-like tokenizer: verbosity is about text, the vendor's own ratio comes on top
    size = bytes_of_tokens(min(tokens, 1.0 * ask.output_tokens_max * 1.6 + 8), "openai")
    return composed_text(draw, max(size, 8))


def _drawn_calls(ask: Ask, draw: Random) -> tuple[ToolCall, ...]:
    offered = [t for t in ask.tools if not ask.tool_names or t.name in ask.tool_names]
    if not offered or ask.tool_mode == "none":
        return ()
    words = words_of(ask.question)
    named = [tool for tool in offered if name_words(tool.name) & words]
    if ask.tool_mode != "any":
        if ask.is_after_tool:
            if draw.random() >= TOOL_SHARE_AFTER_RESULT:
                return ()
        elif not named and draw.random() >= TOOL_SHARE_UNPROMPTED:
            return ()
    chosen = named[:1] or [draw.choice(offered)]
    if ask.is_parallel and not ask.is_after_tool:
        if len(named) > 1:
            chosen = named[:4]
        elif words & {"both", "each", "parallel", "respectively", "compare"} or draw.random() < 0.1:  # noqa: PLR2004
            chosen = chosen * 2
    return tuple(_call_of(tool, draw, ask.question) for tool in chosen)


def _instance(schema: dict[str, Any], draw: Random, question: str) -> Any:  # noqa: ANN401 - any JSON value
    """A value of the schema; a schema that cannot be followed is refused, as vendors do."""
    try:
        return instance_of(schema, draw, question)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError, RecursionError) as broken:
        raise invalid("JSON schema is invalid. It must match JSON Schema draft 2020-12.") from broken


def _call_of(tool: Tool, draw: Random, question: str) -> ToolCall:
    made = _instance(tool.schema, draw, question) if tool.schema else {}
    arguments: dict[str, Any] = made if isinstance(made, dict) else {}
    return ToolCall(tool.name, arguments, orjson.dumps(arguments).decode())
