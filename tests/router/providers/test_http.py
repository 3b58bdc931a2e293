"""Waits, breaks and limits of the shared client, against servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from router.chat import RawFrames, StreamStart, TextDelta
from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.policy import Upstream
from router.providers import http, open_session
from router.providers.anthropic import AnthropicProvider
from router.providers.gemini import GeminiProvider
from router.providers.openai import OpenAiProvider
from router.providers.openai_answer import OpenAiEvents
from tests.router.providers.calls import FLASH, HAIKU, LLAMA, QUICK, call_of
from tests.router.providers.servers import STREAM_END, STREAM_HEAD, Request, Server, piece, plain, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

SHORT = Upstream(connect_timeout_s=1.0, first_byte_timeout_s=0.2, between_bytes_timeout_s=0.2)
ANSWER = orjson.dumps(
    {
        "id": "c1",
        "model": "m",
        "choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1},
    }
)
FIRST = b'data: {"id":"c1","model":"m","choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
LAST = b'data: {"id":"c1","choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


def answering(*pieces: bytes | float) -> Any:
    """A handler that writes bytes, and waits where a number of seconds stands."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        for each in pieces:
            if isinstance(each, float):
                await asyncio.sleep(each)
            else:
                writer.write(each)
                await writer.drain()

    return handle


def closing(*pieces: bytes | float) -> Any:
    """The same, but the connection ends there."""
    write = answering(*pieces)

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        await write(request, writer)
        writer.close()

    return handle


async def complete(session: aiohttp.ClientSession, server: Server, **changes: Any) -> Any:
    changes.setdefault("upstream", QUICK)
    return await OpenAiProvider(session).complete(call_of(LLAMA, base=server.url, **changes))


async def stream(session: aiohttp.ClientSession, server: Server, **changes: Any) -> list[Any]:
    changes.setdefault("upstream", QUICK)
    opened = await OpenAiProvider(session).open_stream(call_of(LLAMA, base=server.url, **changes))
    try:
        return [event async for event in opened]
    finally:
        await opened.aclose()


async def test_what_is_sent(session: aiohttp.ClientSession) -> None:
    async with serving(answering(plain(ANSWER))) as server:
        await complete(session, server, key="k-1", attempt_id="dec_7-2")
    (request,) = server.requests
    assert request.path == "/chat/completions"
    assert request.headers["authorization"] == "Bearer k-1"
    assert request.headers["x-client-request-id"] == "dec_7-2"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("tollgate/")
    assert "cookie" not in request.headers


async def test_no_key_sends_no_authorization_and_a_stream_is_not_compressed(session: aiohttp.ClientSession) -> None:
    async with serving(answering(STREAM_HEAD, piece(FIRST + LAST), STREAM_END)) as server:
        await stream(session, server, key="")
    headers = server.requests[0].headers
    assert "authorization" not in headers
    assert headers["accept-encoding"] == "identity"
    assert headers["accept"] == "text/event-stream"


async def test_the_environments_proxies_are_ignored(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serving(answering(plain(ANSWER))) as server:
        assert (await complete(session, server)).vendor_id == "c1"


async def test_cookies_are_not_kept(session: aiohttp.ClientSession) -> None:
    async with serving(answering(plain(ANSWER, Set_Cookie="a=b"))) as server:
        await complete(session, server)
        await complete(session, server)
    assert "cookie" not in server.requests[1].headers


async def test_connections_are_kept_over_answers_streams_and_errors(session: aiohttp.ClientSession) -> None:
    answers = [
        plain(ANSWER),
        STREAM_HEAD + piece(FIRST) + piece(LAST) + STREAM_END,
        plain(b'{"error": {"type": "x"}}', status="400 Bad Request"),
        plain(ANSWER),
    ]

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    async with serving(handle) as server:
        await complete(session, server)
        await stream(session, server)
        with pytest.raises(ProviderRejectedError):
            await complete(session, server)
        await complete(session, server)
    assert server.connections == 1
    assert len(server.requests) == 4


async def test_a_refused_connection_was_not_billed(session: aiohttp.ClientSession) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ProviderUnavailableError) as caught:
            await complete(session, server)
    assert not caught.value.is_billed


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        (LLAMA, OpenAiProvider, "together_ai (Llama-3.3-70B-Instruct-Turbo)"),
        (HAIKU, AnthropicProvider, "anthropic (claude-haiku-5-5)"),
        (FLASH, GeminiProvider, "gemini (gemini-3.8-flash)"),
    ],
)
async def test_an_error_names_the_host_that_failed_and_the_model(
    session: aiohttp.ClientSession, model: str, provider: Any, name: str
) -> None:
    ends = [(plain(b"{}"), "answered"), (plain(b"[]"), "answered JSON"), (b"no HTTP", "answered no HTTP")]
    ends += [(plain(b"{}", status="500 Oops"), "answered 500"), (STREAM_HEAD + STREAM_END, "ended its stream")]
    ends += [(STREAM_HEAD + piece(b"data: x\n\n") + STREAM_END, "sent an event that is not JSON")]
    for answer, said in ends:
        async with serving(closing(answer)) as server:
            asked = provider(session)
            ask = (
                asked.complete
                if answer.startswith((b"no", b"HTTP")) and STREAM_HEAD not in answer
                else asked.open_stream
            )
            with pytest.raises(ProviderError) as caught:
                await ask(call_of(model, base=server.url))
        assert caught.value.message.startswith(f"{name} {said}")
    with pytest.raises(ProviderUnavailableError) as gone:
        await provider(session).complete(call_of(model, base=server.url))
    assert gone.value.message == f"{name} cannot be reached"


async def test_a_connection_that_does_not_come_about_in_time_was_not_billed(session: aiohttp.ClientSession) -> None:
    async with serving(answering(0.5, plain(ANSWER))) as server, open_session(connections_max=1) as narrow:
        call = call_of(LLAMA, base=server.url)
        busy = asyncio.ensure_future(OpenAiProvider(narrow).complete(call))
        await asyncio.sleep(0.05)
        with pytest.raises(ProviderTimeoutError) as caught:
            await complete(narrow, server, upstream=Upstream(connect_timeout_s=0.1, first_byte_timeout_s=1.0))
        await busy
    assert not caught.value.is_billed
    assert len(server.requests) == 1


@pytest.mark.parametrize("ask", [complete, stream])
async def test_no_first_byte_in_time_may_be_billed(session: aiohttp.ClientSession, ask: Any) -> None:
    async with serving(answering(60.0)) as server:
        with pytest.raises(ProviderTimeoutError) as caught:
            await ask(session, server, upstream=SHORT)
    assert caught.value.is_billed


async def test_comments_do_not_stand_for_a_first_event(session: aiohttp.ClientSession) -> None:
    pings = [each for _ in range(40) for each in (piece(b": ping\n\n"), 0.05)]
    async with serving(answering(STREAM_HEAD, *pings)) as server:
        limits = Upstream(connect_timeout_s=0.2, first_byte_timeout_s=0.2, between_bytes_timeout_s=5.0)
        with pytest.raises(ProviderTimeoutError, match="first event") as caught:
            await stream(session, server, upstream=limits)
    assert caught.value.is_billed


async def test_the_wait_for_the_first_byte_is_not_the_wait_between_bytes(session: aiohttp.ClientSession) -> None:
    limits = Upstream(connect_timeout_s=1.0, first_byte_timeout_s=9.0, between_bytes_timeout_s=0.5)
    async with serving(answering(0.8, plain(ANSWER))) as server:
        assert (await complete(session, server, upstream=limits)).vendor_id == "c1"
    async with serving(answering(STREAM_HEAD, 0.8, piece(FIRST + LAST), STREAM_END)) as server:
        assert (await stream(session, server, upstream=limits))[0] == StreamStart("c1", "m")


async def test_a_stream_that_stalls_gives_what_came_and_then_a_timeout(session: aiohttp.ClientSession) -> None:
    limits = Upstream(connect_timeout_s=1.0, first_byte_timeout_s=30.0, between_bytes_timeout_s=0.1)
    async with serving(answering(STREAM_HEAD, piece(FIRST), 60.0)) as server:
        opened = await OpenAiProvider(session).open_stream(call_of(LLAMA, base=server.url, upstream=limits))
        events = [await anext(opened), await anext(opened)]
        with pytest.raises(ProviderTimeoutError) as caught:
            await anext(opened)
        await opened.aclose()
    assert caught.value.is_billed
    assert events == [StreamStart("c1", "m"), RawFrames(FIRST, 4)]


@pytest.mark.parametrize("ask", [complete, stream])
async def test_a_vendor_that_keeps_the_line_open_with_blanks_is_timed_out_in_the_end(
    session: aiohttp.ClientSession, ask: Any
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n" + ANSWER[:80]
    if ask is stream:
        head = STREAM_HEAD + piece(FIRST)
    blank = b" " if ask is complete else piece(b": ping\n\n")
    pings = [part for _ in range(200) for part in (blank, 0.05)]
    async with serving(answering(head, *pings)) as server:
        with pytest.raises(ProviderTimeoutError, match="in time") as caught:
            await ask(session, server, upstream=SHORT, lasts_max_s=0.3)
    assert caught.value.is_billed
    assert caught.value.seen_bytes == (1 if ask is complete else 0)


async def test_a_stream_that_breaks_our_code_gives_what_came_and_then_an_error_that_is_billed(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parse = OpenAiEvents._parse

    def broken(parser: Any, frame: bytes, data: bytes, events: Any) -> None:
        parse(parser, frame, data, events)
        if b"stop" in data:
            raise KeyError("a secret of the answer's")

    monkeypatch.setattr(OpenAiEvents, "_parse", broken)
    async with serving(answering(STREAM_HEAD, piece(FIRST), 0.1, piece(LAST), STREAM_END)) as server:
        opened = await OpenAiProvider(session).open_stream(call_of(LLAMA, base=server.url))
        events = [await anext(opened), await anext(opened)]
        with pytest.raises(ProviderError, match="cannot read") as caught:
            [event async for event in opened]
        assert not opened.pass_over()  # type: ignore[attr-defined]
        await opened.aclose()
    assert caught.value.is_billed
    assert events == [StreamStart("c1", "m"), RawFrames(FIRST, 4)]
    (record,) = [each for each in caplog.records if each.message == "answer not understood"]
    assert record.__dict__["fields"]["error_type"] == "KeyError"
    assert "secret" not in caplog.text + str(record.__dict__["fields"])


async def test_an_answer_that_stalls_is_a_timeout(session: aiohttp.ClientSession) -> None:
    limits = Upstream(connect_timeout_s=1.0, first_byte_timeout_s=30.0, between_bytes_timeout_s=0.1)
    async with serving(answering(plain(ANSWER)[:-5], 60.0)) as server:
        with pytest.raises(ProviderTimeoutError, match="middle") as caught:
            await complete(session, server, upstream=limits)
    assert caught.value.is_billed


@pytest.mark.parametrize(
    "pieces",
    [
        (STREAM_HEAD, piece(FIRST)),  # torn within the chunked body
        (STREAM_HEAD, piece(FIRST), STREAM_END),  # ended without an end mark
        (STREAM_HEAD, piece(FIRST), piece(FIRST[:20]), STREAM_END),  # ended within a frame
    ],
)
async def test_a_torn_stream_gives_what_came_and_then_an_error(
    session: aiohttp.ClientSession, pieces: tuple[bytes, ...]
) -> None:
    async with serving(closing(*pieces)) as server:
        call = call_of(LLAMA, base=server.url, is_raw=False)
        opened = await OpenAiProvider(session).open_stream(call)
        assert [await anext(opened), await anext(opened)] == [StreamStart("c1", "m"), TextDelta("a")]
        with pytest.raises(ProviderError) as caught:
            await anext(opened)
        await opened.aclose()
    assert caught.value.is_billed


@pytest.mark.parametrize("ask", [complete, stream])
async def test_a_connection_that_breaks_before_the_answer_may_be_billed_and_is_worth_a_retry(
    session: aiohttp.ClientSession, ask: Any
) -> None:
    async with serving(closing()) as server:
        with pytest.raises(ProviderUnavailableError) as caught:
            await ask(session, server)
    assert caught.value.is_billed


@pytest.mark.parametrize("ask", [complete, stream])
@pytest.mark.parametrize(
    "body",
    [b"<html>prompt 4711</html>", b"", b"[]", b'{"a":', b'{"choices": []}', b'{"choices": [{"message": "4711"}]}'],
)
async def test_what_is_no_answer_may_be_billed_and_is_not_quoted(
    session: aiohttp.ClientSession, ask: Any, body: bytes
) -> None:
    async with serving(answering(plain(body, kind="text/html"))) as server:
        with pytest.raises(ProviderError) as caught:
            await ask(session, server)
    assert caught.value.is_billed
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("status", ["301 Moved", "307 Temporary Redirect"])
async def test_redirects_are_not_followed(session: aiohttp.ClientSession, status: str) -> None:
    async with serving(answering(plain(b"", status=status, Location="/elsewhere"))) as server:
        with pytest.raises(ProviderError, match=status[:3]):
            await complete(session, server)
    assert len(server.requests) == 1


async def test_an_answer_is_bounded(session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 100)
    async with serving(answering(plain(b"x" * 101))) as server:
        with pytest.raises(ProviderError, match="more than 100 bytes") as caught:
            await complete(session, server)
    assert caught.value.is_billed


async def test_an_error_answer_is_read_to_a_bound(session: aiohttp.ClientSession) -> None:
    async with serving(answering(plain(b"x" * 10_000_000, status="500 Oops"))) as server:
        with pytest.raises(ProviderUnavailableError, match="500"):
            await complete(session, server)


@pytest.mark.parametrize("status", ["202 Accepted", "206 Partial"])
async def test_another_success_than_200_may_be_billed(session: aiohttp.ClientSession, status: str) -> None:
    async with serving(answering(plain(b"{}", status=status))) as server:
        with pytest.raises(ProviderError, match=status[:3]) as caught:
            await complete(session, server)
    assert caught.value.is_billed


async def test_throttled_with_a_time_to_come_back(session: aiohttp.ClientSession) -> None:
    answer = plain(b'{"error": {"type": "rate_limit"}}', status="429 Slow", Retry_After="3")
    async with serving(answering(answer)) as server:
        with pytest.raises(ProviderUnavailableError) as caught:
            await stream(session, server)
    assert caught.value.retry_after_s == 3.0
    assert not caught.value.is_billed


@pytest.mark.parametrize("base", ["ht!tp://x", "http://", "nonsense"])
async def test_an_address_that_is_none_is_our_mistake_and_not_billed(session: aiohttp.ClientSession, base: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await complete(session, Server(base))
    assert not caught.value.is_billed


async def test_a_key_that_no_header_can_hold_is_our_mistake_and_not_told(session: aiohttp.ClientSession) -> None:
    async with serving(answering(plain(ANSWER))) as server:
        with pytest.raises(ProviderError) as caught:
            await complete(session, server, key="sk-4711\r\nX: y")
    assert "4711" not in str(caught.value)
    assert not caught.value.is_billed
    assert server.requests == []


async def test_a_cancelled_read_loses_nothing(session: aiohttp.ClientSession) -> None:
    """The client leaves while we wait: the background drain goes on with the same stream."""
    async with serving(answering(STREAM_HEAD, piece(FIRST), 0.2, piece(FIRST), piece(LAST), STREAM_END)) as server:
        opened = await OpenAiProvider(session).open_stream(call_of(LLAMA, base=server.url, is_raw=False))
        events = [await anext(opened), await anext(opened)]
        reading = asyncio.ensure_future(anext(opened))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        events += [event async for event in opened]
        await opened.aclose()
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("a"), TextDelta("a")]


async def test_closing_before_the_end_drops_the_connection(session: aiohttp.ClientSession) -> None:
    async with serving(answering(STREAM_HEAD, piece(FIRST), 60.0)) as server:
        opened = await OpenAiProvider(session).open_stream(call_of(LLAMA, base=server.url))
        await anext(opened)
        await opened.aclose()
        await opened.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(opened)
    assert session.connector is not None


async def test_a_vendor_that_does_not_close_after_its_end_mark_costs_no_time(session: aiohttp.ClientSession) -> None:
    limits = Upstream(connect_timeout_s=1.0, first_byte_timeout_s=30.0, between_bytes_timeout_s=30.0)
    async with serving(answering(STREAM_HEAD, piece(FIRST + LAST), 60.0)) as server:
        async with asyncio.timeout(10):
            events = await stream(session, server, upstream=limits)
    assert events[0] == StreamStart("c1", "m")


@pytest.mark.parametrize(
    ("torn", "n_bytes"),
    [
        (b'{"id":"m","content":[{"type":"text","text":"Paris is"},{"type":"text", "text": " a ci', 13),
        (b'{"candidates":[{"content":{"parts":[{"text":"Voil\xc3\xa0"}],"role":"model"}}],"usageMeta', 6),
        (b'{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[{"function":{"arguments":"{\\"a', 3),
        (b'{"choices":[{"message":{"content":"say \\"text\\":\\n', 12),
        (b'{"content":"ends in a \\', 10),
        (b"<html>", 0),
        (b"", 0),
    ],
)
def test_what_was_seen_of_an_answer_that_cannot_be_read_whole(torn: bytes, n_bytes: int) -> None:
    assert http.text_bytes_in(torn) == n_bytes


def test_a_text_of_megabytes_without_an_end_is_seen_to_its_last_byte() -> None:
    assert http.text_bytes_in(b'{"text":"' + b"x" * 8_000_000) == 8_000_000
