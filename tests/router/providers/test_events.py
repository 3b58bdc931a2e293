"""Each wire's stream parser, fed with streams as the vendors send them, however the network cuts them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.chat import (
    Finish,
    RawFrames,
    StreamEvent,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageReport,
)
from router.errors import ProviderError, ProviderRejectedError, ProviderUnavailableError
from router.providers.anthropic_answer import AnthropicEvents
from router.providers.gemini_answer import GeminiEvents
from router.providers.openai_answer import OpenAiEvents
from router.providers.sse import FrameReader, MalformedEventError
from router.providers.stream import EventParser
from router.tokens import TokenUsage, Usage

Make = Callable[[], EventParser]


def frames(*datas: Any, end: bytes = b"") -> bytes:
    return b"".join(b"data: " + orjson.dumps(data) + b"\n\n" for data in datas) + end


def named(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}


def call_piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    return {"tool_calls": [{"index": index, "function": function, **more}]}


DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
COUNTED = UsageReport(Usage(TokenUsage(input_uncached=7, output_text=3)))
OPENAI = frames(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": 'say "usage": {"x"} and "finish_reason":"stop"'}),
    chunk({"content": "grün"}, usage=None),
    chunk(call_piece(0, "", id="a", name="f")),
    chunk(call_piece(0, '{"x":')),
    chunk(call_piece(0, "1}")),
    chunk(call_piece(1, "{}", id="b", name="g")),
    chunk({}, "tool_calls"),
    chunk(None, usage=COUNTS),
    end=DONE,
)
ANTHROPIC = named(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "model": "claude",
            "usage": {
                "input_tokens": 7,
                "cache_creation_input_tokens": 6,
                "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 4},
                "output_tokens": 1,
            },
        },
    },
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "grün"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "f"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"x":1}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "g"}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_stop", "index": 3},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
    {"type": "message_stop"},
)
GEMINI = frames(
    {
        "responseId": "r1",
        "modelVersion": "gemini",
        "candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "grün"}]}}],
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
    },
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"x": 1}}}]}}]},
    {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "g"}}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 7,
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 2,
            "totalTokenCount": 12,
        },
    },
)
PARSERS: dict[str, tuple[Make, bytes]] = {
    "raw": (lambda: OpenAiEvents("meta", is_raw=True), OPENAI),
    "openai": (lambda: OpenAiEvents("meta", is_raw=False), OPENAI),
    "anthropic": (AnthropicEvents, ANTHROPIC),
    "gemini": (GeminiEvents, GEMINI),
}


def events_of(make: Make, stream: bytes, cuts: tuple[int, ...] = ()) -> list[StreamEvent]:
    """All events; raises what the parser raises."""
    found: deque[StreamEvent] = deque()
    parser, reader = make(), FrameReader("vendor")
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        block = reader.feed(stream[start:end])
        if block:
            parser.feed(block, found)
    rest = reader.rest()
    if rest:
        parser.feed(rest, found)
    parser.finish(found)
    return list(found)


def joined(events: list[StreamEvent]) -> list[Any]:
    """Raw frames as one run of bytes: how many stand in an event depends on the network."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, RawFrames) and found and isinstance(found[-1], bytes):
            found[-1] += event.data
        else:
            found.append(event.data if isinstance(event, RawFrames) else event)
    return found


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=60).map(tuple))
def test_any_split_of_the_stream_gives_the_same_events(name: str, cuts: tuple[int, ...]) -> None:
    make, stream = PARSERS[name]
    assert joined(events_of(make, stream, cuts)) == joined(events_of(make, stream))


@pytest.mark.parametrize("name", PARSERS)
def test_byte_by_byte_gives_the_same_events(name: str) -> None:
    make, stream = PARSERS[name]
    assert joined(events_of(make, stream, tuple(range(len(stream))))) == joined(events_of(make, stream))


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_kind_of_line_end_means_nothing(name: str, end: bytes) -> None:
    make, stream = PARSERS[name]
    assert joined(events_of(make, stream.replace(b"\n", end))) == joined(events_of(make, stream))


@pytest.mark.parametrize("name", PARSERS)
def test_a_stream_torn_before_its_end_is_an_error_that_may_be_billed(name: str) -> None:
    make, stream = PARSERS[name]
    starts = [at + 2 for at in range(len(stream)) if stream[at : at + 2] == b"\n\n"]
    # OpenAI's and Gemini's streams are whole once their finish reason came.
    whole_from = {"raw": len(starts) - 3, "openai": len(starts) - 3}.get(name, len(starts) - 1)
    for cut in [0, *starts[:whole_from]]:
        with pytest.raises(ProviderError, match="without an end") as caught:
            events_of(make, stream[:cut])
        assert caught.value.is_billed


def test_openai_events() -> None:
    assert events_of(*PARSERS["openai"]) == [
        StreamStart("c1", "m"),
        TextDelta('say "usage": {"x"} and "finish_reason":"stop"'),
        TextDelta("grün"),
        ToolCallDelta(0, "", "a", "f"),
        ToolCallDelta(0, '{"x":'),
        ToolCallDelta(0, "1}"),
        ToolCallDelta(1, "{}", "b", "g"),
        Finish("tool_calls"),
        COUNTED,
    ]


def test_raw_frames_are_the_hosts_bytes_without_usage_and_end_mark() -> None:
    events = events_of(*PARSERS["raw"])
    raw = b"".join(event.data for event in events if isinstance(event, RawFrames))
    assert raw == OPENAI[: OPENAI.index(frames(chunk(None, usage=COUNTS)))]
    assert [event for event in events if not isinstance(event, RawFrames)] == [
        StreamStart("c1", "m"),
        Finish("tool_calls", is_forwarded=True),
        COUNTED,
    ]
    assert all(event.output_bytes > 0 for event in events if isinstance(event, RawFrames))


@pytest.mark.parametrize("spaced", [b'"usage": null', b'"usage":null'])
def test_plain_frames_of_one_read_are_one_event_and_no_json_is_parsed(spaced: bytes) -> None:
    parser = OpenAiEvents("meta", is_raw=True)
    found: deque[StreamEvent] = deque()
    parser.feed(frames(chunk({"content": "a"})), found)
    found.clear()
    block = b'data: {"not json, %s "finish_reason":null}\n\n' % spaced * 3
    parser.feed(block, found)
    assert list(found) == [RawFrames(block, 12)]
    assert isinstance(found[0], RawFrames)
    assert found[0].data is block


def test_a_raw_frame_that_was_cut_short_is_found_out() -> None:
    parser = OpenAiEvents("meta", is_raw=True)
    found: deque[StreamEvent] = deque()
    parser.feed(frames(chunk({"content": "a"})), found)
    whole = frames(chunk({"content": "b"}))
    with pytest.raises(ProviderError) as caught:
        parser.feed(whole + b'data: {"choices": [{"delta": {"cont\n\n' + whole, found)
    assert caught.value.is_billed
    assert found[-1] == RawFrames(whole, 4)


def test_usage_on_every_chunk_is_reported_and_the_last_counts() -> None:
    stream = frames(
        chunk({"content": "a"}, usage={"prompt_tokens": 7, "completion_tokens": 1}),
        chunk({"content": "b"}, "stop", usage=COUNTS),
    )
    events = events_of(PARSERS["raw"][0], stream)
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("a"), TextDelta("b")]
    assert events[-2:] == [Finish("stop"), COUNTED]
    assert not any(isinstance(event, RawFrames) for event in events)


@pytest.mark.parametrize("name", ["raw", "openai"])
def test_a_count_before_the_answers_end_is_no_final_one(name: str) -> None:
    early = frames(chunk({"content": "a"}, usage={"prompt_tokens": 7, "completion_tokens": 1}), chunk({"content": "b"}))
    parser: Any = PARSERS[name][0]()
    found: deque[StreamEvent] = deque()
    parser.feed(early, found)
    assert parser.usage_so_far() == TokenUsage(input_uncached=7, output_text=1)
    with pytest.raises(ProviderError, match="without an end"):
        parser.finish(found)
    assert not any(isinstance(event, UsageReport) for event in found)
    ended = events_of(PARSERS[name][0], early + frames(chunk({}, "stop"), end=DONE))
    assert ended[-1] == UsageReport(Usage(TokenUsage(input_uncached=7, output_text=1))), "nothing later corrects it"


@pytest.mark.parametrize("name", PARSERS)
def test_the_frames_behind_one_that_cannot_be_read_are_kept(name: str) -> None:
    make, stream = PARSERS[name]
    parser: Any = make()
    found: deque[StreamEvent] = deque()
    *some, last = stream.split(b"\n\n")[:-1]
    middle = len(some) // 2
    block = b"\n\n".join([*some[:middle], b"data: {broken", *some[middle:], last, b""])
    with pytest.raises(MalformedEventError):
        parser.feed(block, found)
    before = len(found)
    parser.go_on(found)
    parser.finish(found)
    assert 0 < before < len(found)
    assert joined(list(found)) == joined(events_of(make, stream))


def test_the_start_of_a_claude_stream_tells_the_input_and_nothing_of_the_output() -> None:
    parser = AnthropicEvents()
    assert parser.usage_so_far() is None
    parser.feed(ANTHROPIC[: ANTHROPIC.index(b"\n\n") + 2], deque())
    counted = parser.usage_so_far()
    assert counted is not None
    assert counted.input_tokens > 0
    assert counted.output_tokens == 0, "what stands there is a placeholder"


def test_an_end_mark_without_a_finish_reason_is_a_stop() -> None:
    assert events_of(PARSERS["raw"][0], frames(chunk({"content": "a"}), end=DONE))[-1] == Finish("stop")


def test_an_empty_finish_reason_is_none() -> None:
    with pytest.raises(ProviderError, match="without an end"):
        events_of(PARSERS["openai"][0], frames(chunk({"content": "a"}, "")))


def test_groq_counts_in_a_field_of_its_own() -> None:
    stream = frames(chunk({"content": "a"}), chunk({}, "stop", x_groq={"id": "r", "usage": COUNTS}))
    assert events_of(PARSERS["raw"][0], stream)[-1] == COUNTED


def test_reasoning_by_either_name() -> None:
    stream = frames(chunk({"reasoning_content": "a"}), chunk({"reasoning": "b"}), chunk({"content": "c"}, "stop"))
    assert events_of(PARSERS["openai"][0], stream)[1:4] == [ThinkingDelta("a"), ThinkingDelta("b"), TextDelta("c")]


def test_anthropic_events() -> None:
    counted = TokenUsage(input_uncached=7, cache_write_5m=2, cache_write_1h=4, output_text=20)
    assert events_of(*PARSERS["anthropic"]) == [
        StreamStart("msg_1", "claude"),
        ThinkingDelta("hm"),
        TextDelta("grün"),
        ToolCallDelta(0, "", "t1", "f"),
        ToolCallDelta(0, '{"x":1}'),
        ToolCallDelta(1, "", "t2", "g"),
        ToolCallDelta(1, "{}"),  # Chat Completions' clients parse the arguments, and an empty text is no JSON
        Finish("tool_calls"),
        UsageReport(Usage(counted)),
    ]


def test_anthropics_placeholder_of_the_start_is_never_taken_for_the_count() -> None:
    end = orjson.dumps({"output_tokens": 20})
    assert not any(isinstance(e, UsageReport) for e in events_of(AnthropicEvents, ANTHROPIC.replace(end, b"{}")))


def test_gemini_events() -> None:
    events = events_of(*PARSERS["gemini"])
    ids = [event.id for event in events if isinstance(event, ToolCallDelta)]
    assert len(set(ids)) == 2
    assert events == [
        StreamStart("r1", "gemini"),
        ThinkingDelta("hm"),
        TextDelta("grün"),
        ToolCallDelta(0, '{"x":1}', ids[0], "f"),
        ToolCallDelta(1, "{}", ids[1], "g"),
        Finish("tool_calls"),
        UsageReport(Usage(TokenUsage(input_uncached=7, output_text=3, output_reasoning=2))),
    ]


def test_gemini_without_a_last_count_has_none() -> None:
    stream = frames(
        {"responseId": "r", "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 1}},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 7}},
    )
    assert events_of(GeminiEvents, stream) == [StreamStart("r", ""), Finish("stop")]


@pytest.mark.parametrize(
    "last",
    [
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"candidates": [{"finishReason": "SAFETY"}]},
        {"candidates": [{"finishReason": "RECITATION"}]},
    ],
)
def test_gemini_filters(last: dict[str, Any]) -> None:
    assert events_of(GeminiEvents, frames({"responseId": "r", **last}))[-1] == Finish("content_filter")


def test_calls_of_two_answers_never_share_an_id() -> None:
    first, second = (events_of(GeminiEvents, GEMINI.replace(b'"r1"', name))[3] for name in (b'"r1"', b'"r2"'))
    assert isinstance(first, ToolCallDelta)
    assert isinstance(second, ToolCallDelta)
    assert first.id != second.id
    nameless = [events_of(GeminiEvents, GEMINI.replace(b'"r1"', b'""'))[3] for _ in range(2)]
    assert nameless[0] != nameless[1]


ERRORS = {
    "openai": {"error": {"message": "secret", "type": "server_error", "code": None}},
    "raw": {"error": {"message": "secret", "type": "server_error", "code": None}},
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "secret"}},
    "gemini": {"error": {"code": 503, "message": "secret", "status": "UNAVAILABLE"}},
}


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("is_started", [False, True])
def test_an_error_event_is_raised_after_what_came_before(name: str, is_started: bool) -> None:
    make, stream = PARSERS[name]
    start = stream[: stream.index(b"\n\n") + 2] if is_started else b""
    found: deque[StreamEvent] = deque()
    with pytest.raises(ProviderUnavailableError) as caught:
        make().feed(start + frames(ERRORS[name]), found)
    assert caught.value.is_billed is is_started
    assert "secret" not in caught.value.message
    assert bool(found) is is_started


def test_an_error_of_the_request_inside_a_stream_is_a_rejection() -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "secret"}}
    with pytest.raises(ProviderRejectedError):
        AnthropicEvents().feed(named(error), deque())


@pytest.mark.parametrize("name", PARSERS)
def test_an_event_that_is_no_json_is_an_error_that_may_be_billed(name: str) -> None:
    with pytest.raises(ProviderError) as caught:
        PARSERS[name][0]().feed(b"data: {broken\n\n", deque())
    assert caught.value.is_billed
