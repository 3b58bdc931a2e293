"""A vendor that costs next to nothing: fixed answers in two wires, from a bare protocol on uvloop.

``python -m benchmarks.vendor`` prints its address and serves until it is stopped. It speaks Chat Completions and
Anthropic Messages, plain and as streams of ``EVENTS`` text events. Its own desk takes three words by POST: ``/pace/5``
puts 5 ms between the events of every later stream, ``/pace/0`` writes a stream at once, which one read of the other
side may then hold whole; ``/wait/50`` lets 50 ms pass before every later answer begins; ``/counts`` answers how many
requests each wire has had since it was last asked.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS = 20
WORDS = [f"word{index} of an answer that says little; " for index in range(EVENTS)]
ANSWER = "".join(WORDS)
PROMPT_TOKENS, ANSWER_TOKENS = 210, 180
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
STREAMED = re.compile(rb'"stream"\s*:\s*true')
PLAIN_HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
OPENAI_MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
OPENAI_USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": ANSWER_TOKENS,
    "total_tokens": PROMPT_TOKENS + ANSWER_TOKENS,
}
CLAUDE_USAGE = {
    "input_tokens": PROMPT_TOKENS,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": ANSWER_TOKENS,
}


def response(body: bytes, status: int = 200, reason: bytes = b"OK") -> bytes:
    """A whole JSON response."""
    return PLAIN_HEAD % (status, reason, len(body)) + body


def chunk(frame: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def openai_plain() -> bytes:
    """A Chat Completions answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": OPENAI_MODEL}
    return response(orjson.dumps({**head, "choices": [choice], "usage": OPENAI_USAGE}))


def openai_stream() -> list[bytes]:
    """The chunks of a streamed answer: one a text event, and the end (finish, usage, mark) as the last."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": OPENAI_MODEL}

    def frame(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"

    texts = [frame({"content": word}) for word in WORDS]
    texts[0] = frame({"role": "assistant", "content": WORDS[0]})
    usage = b"data: " + orjson.dumps({**head, "choices": [], "usage": OPENAI_USAGE}) + b"\n\n"
    end = chunk(frame({}, "stop")) + chunk(usage) + chunk(b"data: [DONE]\n\n") + LAST_CHUNK
    return [*map(chunk, texts), end]


def claude_plain() -> bytes:
    """An Anthropic Messages answer."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": CLAUDE_USAGE,
    }
    return response(orjson.dumps(message))


def claude_stream() -> list[bytes]:
    """The chunks of a streamed message: one a text event, the opening events with the first of them."""

    def frame(event: dict[str, object]) -> bytes:
        return chunk(b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), orjson.dumps(event)))

    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": []}
    ends = {"stop_reason": None, "stop_sequence": None, "usage": {**CLAUDE_USAGE, "output_tokens": 1}}
    opening = frame({"type": "message_start", "message": {**head, **ends}}) + frame(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    )
    texts = [
        frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
        for word in WORDS
    ]
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    closing = (
        frame({"type": "content_block_stop", "index": 0})
        + frame({"type": "message_delta", "delta": stop, "usage": {"output_tokens": ANSWER_TOKENS}})
        + frame({"type": "message_stop"})
        + LAST_CHUNK
    )
    return [opening + texts[0], *texts[1:], closing]


ANSWERS = {b"/v1/chat/completions": openai_plain(), b"/v1/messages": claude_plain()}
STREAMS = {b"/v1/chat/completions": openai_stream(), b"/v1/messages": claude_stream()}


class Desk:
    """What all connections share: milliseconds before an answer and between events, and requests by path."""

    def __init__(self) -> None:
        self.gap_ms = 0
        self.wait_ms = 0
        self.counts = dict.fromkeys(ANSWERS, 0)

    def control(self, path: bytes) -> bytes:
        """Answer what is no vendor's path."""
        name, _, value = path[1:].partition(b"/")
        if name == b"counts":
            counted = {each.decode(): count for each, count in self.counts.items()}
            self.counts = dict.fromkeys(ANSWERS, 0)
            return response(orjson.dumps(counted))
        if name == b"pace" and value.isdigit():
            self.gap_ms = int(value)
            return response(b"{}")
        if name == b"wait" and value.isdigit():
            self.wait_ms = int(value)
            return response(b"{}")
        return response(b'{"error": {"message": "no such path", "type": "not_found"}}', 404, b"Not Found")


class VendorProtocol(asyncio.Protocol):
    """One kept connection; requests on it are answered in turn."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pending = b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, a transport by its methods only

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone: a paced stream stops at its next event."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        data = self._pending + data
        while (end := data.find(HEAD_END)) >= 0:
            length = LENGTH.search(data, 0, end)
            size = end + len(HEAD_END) + (int(length.group(1)) if length else 0)
            if len(data) < size:
                break
            self._answer(data[:end], data[end + len(HEAD_END) : size])
            data = data[size:]
        self._pending = data

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        path = head.split(b" ", 2)[1].split(b"?", 1)[0]
        if path not in ANSWERS:
            self._transport.write(self._desk.control(path))
            return
        self._desk.counts[path] += 1
        is_streamed = STREAMED.search(body) is not None
        if self._desk.wait_ms:
            self._loop.call_later(self._desk.wait_ms / 1000, self._begin, path, is_streamed)
        else:
            self._begin(path, is_streamed)

    def _begin(self, path: bytes, is_streamed: bool) -> None:  # noqa: FBT001  # call_later passes by position
        if self._transport is None:
            return
        if not is_streamed:
            self._transport.write(ANSWERS[path])
        elif self._desk.gap_ms:
            self._transport.write(STREAM_HEAD)
            self._write_next(STREAMS[path], 0)
        else:
            self._transport.write(STREAM_HEAD + b"".join(STREAMS[path]))

    def _write_next(self, chunks: Sequence[bytes], index: int) -> None:
        if self._transport is None:
            return
        self._transport.write(chunks[index])
        if index + 1 < len(chunks):
            self._loop.call_later(self._desk.gap_ms / 1000, self._write_next, chunks, index + 1)


async def serve() -> None:
    """Listen on a free port of this machine and print the address."""
    desk = Desk()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: VendorProtocol(desk), "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
