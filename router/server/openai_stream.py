"""A streamed answer as Chat Completions chunks.

Every stream ends with the bill, in a ``usage`` of its last chunk before ``[DONE]``. Where it stands depends on what
the client asked for:

- with ``stream_options.include_usage``: in a chunk without choices, as OpenAI sends usage. A client that asked for it
  reads such a chunk.
- without: in the chunk that carries the finish reason, which is held back until the bill is known (no longer than the
  vendor takes to end). Much code reads ``chunk.choices[0]`` of every chunk, as OpenAI's own examples do, and would
  fail on one without choices; LangChain joins finish reasons, so a second chunk with one would say ``stopstop``.

No keep-alive comments are sent: the response starts only when the vendor's first event is here, and between events a
vendor that is silent for longer than the policy allows is given up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from router.chat import Finish, RawFrames, StreamStart, TextDelta, ThinkingDelta, ToolCallDelta
from router.server.openai_render import money_fields, usage_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.bill import Bill
    from router.chat import StreamEvent
    from router.tokens import Usage

DONE = b"data: [DONE]\n\n"
SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
# Within text a quote has a backslash before it, so an answer that speaks of finish reasons does not match.
FINISH_FIELD = re.compile(rb'"finish_reason"\s*:\s*"')
FRAME_END = b"\n\n"
DATA = b"data:"


class ChunkWriter:
    """Events of one stream as server-sent chunks; ``wants_usage`` is the client's ``include_usage``."""

    def __init__(self, model: str, decision_id: str, created_s: int, *, wants_usage: bool) -> None:
        self._head: dict[str, object] = {
            "id": f"chatcmpl-{decision_id}",
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": model,
        }
        self._wants_usage = wants_usage
        self._has_role = False
        self._held: dict[str, object] | None = None

    def chunk(self, event: StreamEvent) -> bytes:
        """The event's bytes; empty where it says nothing to the client, or nothing yet."""
        match event:
            case RawFrames(data=data):
                self._has_role = True
                return self._raw(data)
            case TextDelta(text=text):
                return self._delta({"content": text})
            case ThinkingDelta(text=text):
                return self._delta({"reasoning_content": text})
            case ToolCallDelta():
                return self._delta({"tool_calls": [_call_delta(event)]})
            case Finish(reason=reason, is_forwarded=False):
                return self._finish(reason)
            case StreamStart(vendor_id=vendor_id, vendor_model=vendor_model):
                self._head["id"] = vendor_id or self._head["id"]
                self._head["model"] = vendor_model or self._head["model"]
        return b""

    def last(self, usage: Usage | None, bill: Bill) -> bytes:
        """The chunk with the bill, then the end mark.

        Where the vendor did not report its tokens the counts are 0, since clients need numbers, and ``usage_source``
        says that the cost is an estimate.
        """
        counts = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0} if usage is None else {}
        fields = {**counts, **(usage_fields(usage) if usage is not None else {}), **money_fields(bill)}
        if bill.usage_source != "reported":
            fields["usage_source"] = bill.usage_source
        if self._wants_usage:
            chunk: dict[str, object] = {**self._head, "choices": []}
        elif self._held is not None:
            chunk, self._held = self._held, None
        else:
            chunk = self._chunk({}, None)
        return _frame({**chunk, "usage": fields}) + DONE

    def broken(self, error: bytes) -> bytes:
        """What ends a stream that broke: what was held back, and the error; no end mark, since this is none."""
        return self._released() + b"data: " + error + FRAME_END

    def _delta(self, delta: Mapping[str, object]) -> bytes:
        if not self._has_role:
            self._has_role = True
            delta = {"role": "assistant", "content": None, **delta}
        return self._released() + _frame(self._chunk(delta, None))

    def _finish(self, reason: str) -> bytes:
        delta: dict[str, object] = {} if self._has_role else {"role": "assistant", "content": ""}
        self._has_role = True
        return self._hold(self._chunk(delta, reason))

    def _hold(self, chunk: dict[str, object]) -> bytes:
        if self._wants_usage:
            return _frame(chunk)
        before = self._released()
        self._held = chunk
        return before

    def _released(self) -> bytes:
        chunk, self._held = self._held, None
        return b"" if chunk is None else _frame(chunk)

    def _raw(self, data: bytes) -> bytes:
        before = self._released()
        if self._wants_usage or FINISH_FIELD.search(data) is None:
            return before + data if before else data
        *frames, last = [frame for frame in data.split(FRAME_END) if frame.strip()]
        chunk = _chunk_of(last)
        if chunk is None or FINISH_FIELD.search(last) is None:
            return before + data
        self._held = chunk
        return before + b"".join([frame + FRAME_END for frame in frames])

    def _chunk(self, delta: Mapping[str, object], finish: str | None) -> dict[str, object]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "choices": [choice]}


def _frame(chunk: Mapping[str, object]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + FRAME_END


def _chunk_of(frame: bytes) -> dict[str, object] | None:
    """The object in a frame of one data line; None where it is anything else, and is better left as it is."""
    text = frame.strip()
    if not text.startswith(DATA) or b"\n" in text:
        return None
    try:
        chunk = orjson.loads(text[len(DATA) :])
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _call_delta(event: ToolCallDelta) -> dict[str, object]:
    function: dict[str, object] = {"arguments": event.arguments}
    if event.name is not None:
        function["name"] = event.name
    call: dict[str, object] = {"index": event.index, "function": function}
    if event.id is not None:
        call |= {"id": event.id, "type": "function"}
    return call
