"""What a streamed answer said, as far as the guards need it: gathered while it passes, read once at its end.

Bounded: an answer above 64 KiB is not told at all, since the digest of a part of it stands for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.chat import RawFrames, Text, TextDelta, ToolCall, ToolCallDelta

if TYPE_CHECKING:
    from router.chat import Part, StreamEvent

BYTES_MAX = 65_536
FRAME_END = b"\n\n"
DATA = b"data:"


class Transcript:
    """The text and the tool calls of one answer."""

    def __init__(self) -> None:
        self._events: list[RawFrames | TextDelta | ToolCallDelta] = []
        self._bytes = 0
        self._texts: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def note(self, event: StreamEvent) -> None:
        """Gather what the event says."""
        match event:
            case RawFrames(output_bytes=size):
                self._keep(event, size)
            case TextDelta(text=text):
                self._keep(event, len(text))
            case ToolCallDelta(arguments=arguments):
                self._keep(event, len(arguments))

    def parts(self) -> tuple[Part, ...]:
        """The answer; nothing of one that was too long. To be asked once."""
        for event in self._events:
            match event:
                case RawFrames(data=data):
                    for frame in data.split(FRAME_END):
                        self._read(frame)
                case TextDelta(text=text):
                    self._texts.append(text)
                case ToolCallDelta(index=index, name=name, arguments=arguments):
                    self._call(index, name, arguments)
        self._events.clear()
        text = "".join(self._texts)
        calls = tuple(ToolCall(str(index), said[0], "".join(said[1:])) for index, said in self._calls.items())
        return (Text(text), *calls) if text else calls

    def _keep(self, event: RawFrames | TextDelta | ToolCallDelta, size: int) -> None:
        self._bytes += size
        if self._bytes <= BYTES_MAX:
            self._events.append(event)
        else:
            self._events.clear()

    def _read(self, frame: bytes) -> None:
        """One Chat Completions chunk: the only wire whose frames pass as they are."""
        start = frame.find(DATA)
        if start < 0:
            return
        try:
            for choice in orjson.loads(frame[start + len(DATA) :])["choices"]:
                self._take(choice["delta"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # the client gets the frame as it is, and judges it

    def _take(self, delta: dict[str, Any]) -> None:
        if isinstance(text := delta.get("content"), str):
            self._texts.append(text)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            self._call(int(call.get("index") or 0), function.get("name"), function.get("arguments") or "")

    def _call(self, index: int, name: str | None, arguments: str) -> None:
        said = self._calls.setdefault(index, [""])
        said[0] = said[0] or name or ""
        said.append(arguments)
