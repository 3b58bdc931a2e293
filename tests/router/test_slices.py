"""A stream that is held in slices pays for what it shows, however its host frames it and whatever it hides."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from router.budgets import Budget, Claim
from router.budgets.windows import ENDLESS
from router.chat import Finish, RawFrames, StreamEvent, StreamStart, TextDelta, UsageReport
from router.cover import SLICE_TOKENS
from router.providers.openai_answer import OpenAiEvents
from router.tokens import TokenUsage, Usage
from tests.builders import request_of
from tests.router.scripted import ANY, CHEAP, NOBODY, ScriptedStream, Stage, leap, policy_with, read_all

if TYPE_CHECKING:
    from router.policy import Policy
    from router.ports import Call

LIMIT_NANOUSD = 20_000_000
CHEAP_OUT_NANOUSD = 5_000
FRAMES, FRAME_TOKENS = 390, 42
TEXT = "the quick brown fox jumps over a lazy dog and then some more of it " * 3
EACH = Budget(name="all", scope="all", window="total", limit_nanousd=LIMIT_NANOUSD, queue_s=10.0)


def sliced() -> Policy:
    made = policy_with()
    models = {**made.models, CHEAP: replace(made.models[CHEAP], bills_after_disconnect=False)}
    return replace(made, models=models, budgets=(EACH,))


async def settled_and_held(stage: Stage) -> tuple[int, int]:
    await stage.background.aclose(100.0)
    await stage.treasury.aclose(100.0)
    (balance,) = await stage.store.balances([Claim(EACH.name, "", LIMIT_NANOUSD, EACH.is_hard, (ENDLESS,))])
    return balance.settled_nanousd, balance.held_nanousd


def frame(delta: dict[str, Any], **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": None}]
    return b"data: " + orjson.dumps({"id": "c", "model": "m", **more, "choices": choices}) + b"\n\n"


async def batching_host(call: Call) -> ScriptedStream:
    """As vLLM and Groq batch an answer: many tokens a frame, and the first holds more beside them than the others."""
    parser, events = OpenAiEvents("meta", is_raw=True, is_exact=call.is_sliced), deque[StreamEvent]()
    parser.feed(frame({"role": "assistant", "content": ""}, x_groq={"id": "r" * 600}), events)
    for _ in range(FRAMES):
        parser.feed(frame({"content": TEXT}), events)
    return ScriptedStream(list(events))


def test_frames_that_hide_much_behind_a_heavy_first_one_pass_no_budget() -> None:
    async def story() -> None:
        stage = Stage({CHEAP: [batching_host]}, policy=sliced())
        stream = await stage.gateway.open_stream(request_of(is_streamed=True, output_tokens_max=20_000), NOBODY, ANY)
        events = await read_all(stream)
        assert stage.vendor.calls[0].is_sliced
        assert events[-1] == Finish("length")
        shown = sum(isinstance(event, RawFrames) for event in events) - 1
        assert shown > 0
        # The frame that could not be paid for was billed too: what is held beyond what went out covers it.
        settled, held = await settled_and_held(stage)
        assert (shown + 1) * FRAME_TOKENS * CHEAP_OUT_NANOUSD <= settled <= LIMIT_NANOUSD
        assert held == 0

    leap(story())


def test_a_call_that_is_held_whole_is_not_read_frame_by_frame() -> None:
    async def story() -> None:
        stage = Stage({CHEAP: [ScriptedStream()]}, policy=replace(sliced(), models=policy_with().models))
        await read_all(await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY))
        assert not stage.vendor.calls[0].is_sliced

    leap(story())


def test_hidden_thinking_that_the_vendor_counts_as_it_goes_is_paid_for() -> None:
    async def story() -> None:
        counted = TokenUsage(input_uncached=100, output_reasoning=3 * SLICE_TOKENS)
        source = ScriptedStream(
            [StreamStart("m", "x"), TextDelta("Well"), 0.1, Finish("stop"), UsageReport(Usage(counted))],
            usage_so_far=counted,
        )
        stage = Stage({CHEAP: [source]}, policy=sliced())
        stream = await stage.gateway.open_stream(request_of(is_streamed=True, output_tokens_max=20_000), NOBODY, ANY)
        assert await anext(stream) == Finish("length"), "three slices and one ahead do not fit"
        await read_all(stream)
        settled, held = await settled_and_held(stage)
        assert settled <= LIMIT_NANOUSD
        assert held == 0

    leap(story())
