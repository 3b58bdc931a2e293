"""POST /v1/chat/completions: bodies, headers, streams, failures."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from router.chat import Finish, RawFrames, StreamStart, TextDelta, ThinkingDelta, UsageReport
from router.errors import (
    LedgerUnavailableError,
    NoEligibleModelError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
)
from router.money import usd_of
from router.policy import Limits
from router.server import create_app
from tests.builders import policy_of
from tests.router.server.fakes import (
    HELLO,
    KEYS,
    POLICY,
    RAW_FINISH,
    RAW_START,
    RAW_STREAM,
    TOOL_STREAM,
    USAGE,
    FakeGateway,
    Sent,
    parts_of,
    reply_of,
    send_to,
)

if TYPE_CHECKING:
    from router.server import ServerParts

ASK = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}


def body_of(**changes: Any) -> bytes:
    return json.dumps({**ASK, **changes}).encode()


def fake(parts: ServerParts) -> FakeGateway:
    assert isinstance(parts.gateway, FakeGateway)
    return parts.gateway


def chunks_of(sent: Sent) -> list[dict[str, Any]]:
    frames = [frame for frame in sent.body.decode().split("\n\n") if frame]
    assert frames[-1] == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]


async def test_a_plain_answer_is_rendered_with_its_bill() -> None:
    parts = parts_of()
    sent = await send_to(create_app(parts), body=body_of())
    assert sent.status == 200
    body = json.loads(sent.body)
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello there", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 7,
        "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert {name: value for name, value in sent.headers.items() if name.startswith("x-router")} == {
        "x-router-decision-id": "dec_0000000000000000",
        "x-router-model": "haiku",
        "x-router-reason": "cheapest_within_tolerance",
        "x-router-complexity": "0.2500",
        "x-router-expected-loss": "0.0100",
        "x-router-cost-usd": "0.000001234",
        "x-router-premium-cost-usd": "0.000001000",
        "x-router-savings-usd": "-0.000000234",
    }


async def test_a_same_wire_answer_passes_untouched() -> None:
    parts = parts_of()
    raw = b'{"id": "x",  "choices": [{"message": {"content": "as it came"}}]}'
    fake(parts).reply = reply_of(raw=raw)
    sent = await send_to(create_app(parts), body=body_of())
    assert sent.body == raw
    assert sent.headers["content-length"] == str(len(raw))


async def test_where_premium_is_not_modelled_no_saving_is_claimed() -> None:
    parts = parts_of()
    fake(parts).is_modelled = False
    fake(parts).dropped = ("temperature", "seed")
    sent = await send_to(create_app(parts), body=body_of())
    assert "x-router-premium-cost-usd" not in sent.headers
    assert "x-router-savings-usd" not in sent.headers
    assert sent.headers["x-router-dropped"] == "temperature,seed"


async def test_a_stream_without_include_usage_carries_the_bill_in_its_finish_chunk() -> None:
    parts = parts_of()
    sent = await send_to(create_app(parts), body=body_of(stream=True))
    assert sent.headers["content-type"].startswith("text/event-stream")
    assert sent.headers["x-router-model"] == "haiku"
    assert "x-router-cost-usd" not in sent.headers
    chunks = chunks_of(sent)
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hello "}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert chunks[-1]["usage"]["cost_usd"] == usd_of(1_234)
    assert chunks[-1]["usage"]["premium_cost_usd"] == usd_of(1_000)
    assert chunks[-1]["usage"]["savings_usd"] == usd_of(-234)
    assert chunks[-1]["usage"]["decision_id"] == sent.headers["x-router-decision-id"]
    assert chunks[-1]["usage"]["total_tokens"] == 19
    assert fake(parts).streams[0].is_closed


async def test_a_stream_with_include_usage_ends_with_a_chunk_without_choices() -> None:
    sent = await send_to(create_app(parts_of()), body=body_of(stream=True, stream_options={"include_usage": True}))
    chunks = chunks_of(sent)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["cost_usd"] == usd_of(1_234)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in chunks[-2]


async def test_raw_frames_pass_as_they_are_and_the_finish_frame_takes_the_bill() -> None:
    parts = parts_of()
    fake(parts).script = RAW_STREAM
    sent = await send_to(create_app(parts), body=body_of(stream=True))
    assert sent.body.startswith(RAW_START)
    chunks = chunks_of(sent)
    assert len(chunks) == 2
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[1]["usage"]["cost_usd"] == usd_of(1_234)


async def test_raw_frames_are_not_touched_when_usage_was_asked_for() -> None:
    parts = parts_of()
    fake(parts).script = RAW_STREAM
    sent = await send_to(create_app(parts), body=body_of(stream=True, stream_options={"include_usage": True}))
    assert sent.body.startswith(RAW_START + RAW_FINISH)
    assert chunks_of(sent)[-1]["choices"] == []


async def test_frames_after_the_finish_frame_keep_their_order() -> None:
    parts = parts_of()
    late = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":null,"x":"late"}]}\n\n'
    fake(parts).script = (*RAW_STREAM[:3], RawFrames(late), *RAW_STREAM[3:])
    chunks = chunks_of(await send_to(create_app(parts), body=body_of(stream=True)))
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, "stop", None, None]
    assert chunks[2]["choices"][0]["x"] == "late"
    assert chunks[3]["usage"]["cost_usd"] == usd_of(1_234)


async def test_two_frames_in_one_read_are_split_at_the_finish() -> None:
    parts = parts_of()
    fake(parts).script = (RAW_STREAM[0], RawFrames(RAW_START + RAW_FINISH), *RAW_STREAM[3:])
    chunks = chunks_of(await send_to(create_app(parts), body=body_of(stream=True)))
    assert len(chunks) == 2
    assert "usage" in chunks[1]


async def test_text_that_speaks_of_finish_reasons_is_no_finish() -> None:
    parts = parts_of()
    spoken = json.dumps({"choices": [{"index": 0, "delta": {"content": '"finish_reason":"stop"'}}]}).encode()
    frame = b"data: " + spoken + b"\n\n"
    fake(parts).script = (RAW_STREAM[0], RawFrames(frame), *RAW_STREAM[2:])
    sent = await send_to(create_app(parts), body=body_of(stream=True))
    assert sent.writes[0] == frame


async def test_a_finish_frame_that_cannot_be_read_passes_and_the_bill_follows() -> None:
    parts = parts_of()
    odd = b'data: {"finish_reason":"stop", oops\n\n'
    fake(parts).script = (RAW_STREAM[0], RawFrames(odd), *RAW_STREAM[3:])
    sent = await send_to(create_app(parts), body=body_of(stream=True))
    assert sent.body.startswith(odd)
    last = json.loads(sent.body.split(b"\n\n")[1].removeprefix(b"data: "))
    assert last["choices"][0]["delta"] == {}
    assert last["usage"]["cost_usd"] == usd_of(1_234)


async def test_thinking_and_tool_calls_stream() -> None:
    parts = parts_of()
    fake(parts).script = (TOOL_STREAM[0], ThinkingDelta("hm"), *TOOL_STREAM[1:])
    chunks = chunks_of(await send_to(create_app(parts), body=body_of(stream=True)))
    assert chunks[0]["choices"][0]["delta"]["reasoning_content"] == "hm"
    first = chunks[1]["choices"][0]["delta"]["tool_calls"][0]
    assert first == {
        "index": 0,
        "function": {"arguments": "", "name": "weather"},
        "id": "call_1",
        "type": "function",
    }
    assert "".join(c["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for c in chunks[1:4]) == (
        '{"city":"Rome"}'
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_an_answer_of_nothing_has_a_role_and_an_end() -> None:
    parts = parts_of()
    fake(parts).script = (StreamStart("m", "c"), Finish("stop"), UsageReport(USAGE))
    chunks = chunks_of(await send_to(create_app(parts), body=body_of(stream=True)))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [{"role": "assistant", "content": ""}]


async def test_unknown_usage_is_marked_as_estimated() -> None:
    parts = parts_of()
    fake(parts).script = HELLO[:-1]
    usage = chunks_of(await send_to(create_app(parts), body=body_of(stream=True)))[-1]["usage"]
    assert usage["usage_source"] == "estimated"
    assert usage["total_tokens"] == 0
    assert usage["cost_usd"] == usd_of(1_234)


async def test_what_has_arrived_together_goes_out_in_one_write() -> None:
    parts = parts_of()
    gateway = fake(parts)
    open_stream = gateway.open_stream

    async def ready(*arguments: Any) -> Any:
        stream = await open_stream(*arguments)
        stream.has_ready = True
        return stream

    gateway.open_stream = ready  # type: ignore[method-assign]
    sent = await send_to(create_app(parts), body=body_of(stream=True))
    assert len(sent.writes) == 1
    assert len(chunks_of(sent)) == 3


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ProviderError("the vendor broke", is_billed=True), "provider_error"),
        (LedgerUnavailableError("the disk is full"), "ledger_unavailable"),
        (ValueError("a secret prompt"), "internal_error"),
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error_and_no_end_mark(
    failure: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts = parts_of()
    fake(parts).script = (*HELLO[:4], failure)
    with caplog.at_level(logging.ERROR):
        sent = await send_to(create_app(parts), body=body_of(stream=True))
    frames = [json.loads(frame.removeprefix("data: ")) for frame in sent.body.decode().split("\n\n") if frame]
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert frames[-1]["error"]["code"] == code
    assert b"[DONE]" not in sent.body
    assert b"secret" not in sent.body
    assert "secret" not in caplog.text
    assert fake(parts).streams[0].is_closed


async def test_a_client_that_leaves_stops_the_writing_and_closes_the_stream() -> None:
    parts = parts_of()
    fake(parts).script = (HELLO[0], *([TextDelta("x")] * 500), *HELLO[3:])
    app = create_app(parts)
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body_of(stream=True)}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST", "headers": []}
    await app(scope, receive, send)
    assert fake(parts).sent_events < 10
    assert fake(parts).streams[0].is_closed


async def test_a_client_that_leaves_before_its_body_is_whole_is_not_answered() -> None:
    parts = parts_of()
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST", "headers": []}
    await create_app(parts)(scope, receive, send)
    assert sent == []
    assert fake(parts).requests == []


async def test_a_cancelled_stream_is_closed() -> None:
    parts = parts_of()
    fake(parts).pause_s = 0.01
    fake(parts).script = (HELLO[0], *([TextDelta("x")] * 500))
    task = asyncio.ensure_future(send_to(create_app(parts), body=body_of(stream=True)))
    await fake(parts).has_sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fake(parts).streams[0].is_closed


@pytest.mark.parametrize(
    ("failure", "status", "code", "headers"),
    [
        (ProviderError("bad gateway"), 502, "provider_error", {}),
        (ProviderUnavailableError("busy", retry_after_s=2.1), 503, "provider_unavailable", {"retry-after": "3"}),
        (RateLimitedError("slow down", data={"retry_after_s": 0.2}), 429, "rate_limited", {"retry-after": "1"}),
        (
            NoEligibleModelError("none", data={"candidates": [{"model": "opus", "why_not": ["vision"]}]}),
            422,
            "no_eligible_model",
            {"x-should-retry": "false"},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures_before_the_first_byte_have_their_status(
    failure: Any, status: int, code: str, headers: dict[str, str], stream: bool
) -> None:
    parts = parts_of()
    failure.decision_id = "dec_1"
    fake(parts).failure = failure
    sent = await send_to(create_app(parts), body=body_of(stream=stream))
    error = json.loads(sent.body)["error"]
    assert (sent.status, error["code"]) == (status, code)
    assert headers.items() <= sent.headers.items()
    assert sent.headers["x-router-decision-id"] == "dec_1"
    assert ("candidates" in error) == (code == "no_eligible_model")


async def test_a_bug_is_a_500_in_shape_and_its_text_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    parts = parts_of()
    fake(parts).failure = KeyError("a secret prompt")
    with caplog.at_level(logging.ERROR):
        sent = await send_to(create_app(parts), body=body_of())
    assert sent.status == 500
    error = json.loads(sent.body)["error"]
    assert error["code"] == "internal_error"
    assert sent.headers["x-request-id"] in error["message"]
    fields = caplog.records[0].fields  # type: ignore[attr-defined]
    assert fields["request_id"] == sent.headers["x-request-id"]
    assert fields["error_type"] == "KeyError"
    assert any("fakes.py" in frame for frame in fields["frames"])
    assert "secret" not in caplog.text + str(fields) + sent.body.decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer nobody"}, 401),
        ({"authorization": "Basic key-search"}, 401),
        ({"authorization": "Bearer key-search"}, 200),
        ({"authorization": "bearer  key-search "}, 200),
        ({"x-api-key": "key-search"}, 200),
    ],
)
async def test_keys_are_asked_for_where_they_are_in_force(headers: dict[str, str], status: int) -> None:
    parts = parts_of(keys=KEYS)
    sent = await send_to(create_app(parts), body=body_of(), headers=headers)
    assert sent.status == status
    if status == 401:
        assert json.loads(sent.body)["error"]["code"] == "invalid_api_key"
        assert sent.headers["www-authenticate"] == "Bearer"
        assert parts.registry.get_sample_value("tollgate_unauthenticated_total") == 1
    else:
        assert fake(parts).requests[0][1].team == "search"


async def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes() -> None:
    policy = replace(POLICY, limits=Limits(body_bytes_max=100))
    parts = parts_of()
    fake(parts).policy = policy
    app = create_app(parts)
    for headers, body in (({"content-length": "101"}, b"{}"), ({}, b"x" * 101), ({}, [b"x" * 60, b"x" * 60])):
        sent = await send_to(app, body=body, headers=headers)
        assert (sent.status, json.loads(sent.body)["error"]["code"]) == (413, "request_too_large")
        assert sent.headers["connection"] == "close"
    assert [error.code for error in fake(parts).rejections] == ["request_too_large"] * 3


async def test_a_client_that_sends_too_slowly_is_timed_out_over_all_its_pieces() -> None:
    parts = parts_of()
    fake(parts).policy = replace(policy_of(*POLICY.models.values()), limits=Limits(body_timeout_s=0.05))
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST", "headers": []}
    await create_app(parts)(scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_timeout"


async def test_a_body_in_pieces_is_put_together() -> None:
    body = body_of()
    sent = await send_to(create_app(parts_of()), body=[body[:10], body[10:20], body[20:]])
    assert sent.status == 200
