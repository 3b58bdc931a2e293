"""The hub that every surface parses into and every wire renders from.

A surface (what the client speaks) and a wire (what the vendor speaks) meet only here, so three of each need six
translations, not nine. ``Request`` keeps the caller's own body beside the parsed view: when surface and wire are the
same, the body passes through untouched but for the fields that the router must set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.tokens import Usage

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Wire: TypeAlias = Literal["openai", "anthropic", "gemini", "litellm"]
Surface: TypeAlias = Literal["openai_chat", "anthropic_messages", "openai_responses"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
CacheTtl: TypeAlias = Literal["5m", "1h"]


# --- what goes in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """Text, with the caller's prompt-cache mark where there is one."""

    text: str
    cache: CacheTtl | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image, either base64 ``data`` with its ``media_type`` or a ``url``; ``cache`` as a text's."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None
    cache: CacheTtl | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant made; ``arguments`` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call ``call_id``."""

    call_id: str
    parts: tuple[Text | Image, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning that a vendor wants back; ``signature`` means something to ``vendor`` alone."""

    text: str
    signature: str | None = None
    vendor: str | None = None


Part: TypeAlias = Text | Image | ToolCall | ToolResult | Thinking


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``developer`` is parsed as ``system``."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; ``parameters`` is its JSON Schema, ``cache`` as a text's."""

    name: str
    description: str | None
    parameters: Mapping[str, object]
    is_strict: bool | None = None
    cache: CacheTtl | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """``auto``, ``none``, ``required`` (any tool) or ``named`` (the tool ``name``)."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings; None means that the caller did not set it."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None

    def names(self) -> tuple[str, ...]:
        """The settings that the caller made, in the contract's names."""
        if self is NO_SAMPLING:
            return ()
        return tuple(name for name in self.__slots__ if getattr(self, name) is not None)


NO_SAMPLING = Sampling()
"""What most requests say of sampling: nothing."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """What the answer must look like; ``schema`` is a JSON Schema when ``kind`` is ``json_schema``."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: Mapping[str, object] | None = None
    is_strict: bool | None = None


def images_of(messages: Iterable[Message]) -> tuple[Image, ...]:
    """Every image of the messages, tool results included, in order."""
    found: list[Image] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, Image):
                found.append(part)
            elif isinstance(part, ToolResult):
                found.extend(inner for inner in part.parts if isinstance(inner, Image))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to generate, as a surface parsed it.

    ``output_tokens_max`` is what the caller asked for, None when it left the limit to us. ``extra`` holds fields that
    Tollgate does not interpret and that only a same-wire vendor can be given. ``body_bytes`` is the size as received:
    a byte-level token covers at least one byte, so it bounds the text's tokens. ``rewritten`` holds, for each message
    that was trimmed, what its texts have become, None for one that is gone: a body that passes through is told so.
    """

    surface: Surface
    model: str
    messages: tuple[Message, ...]
    body: Mapping[str, object]
    body_bytes: int
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    allows_parallel_tools: bool | None = None
    sampling: Sampling = NO_SAMPLING
    response_format: ResponseFormat | None = None
    stop: tuple[str, ...] = ()
    output_tokens_max: int | None = None
    reasoning_effort: str | None = None
    is_streamed: bool = False
    wants_stream_usage: bool = False
    end_user: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    rewritten: Mapping[int, tuple[str | None, ...]] = field(default_factory=dict)

    images: tuple[Image, ...] = field(init=False, compare=False, repr=False)
    """Every image of every message, tool results included, in order: asked for by each candidate, so found once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", images_of(self.messages))

    @property
    def asks_for_caching(self) -> bool:
        """Whether anything carries a prompt-cache mark, so that a vendor may bill cache writes."""
        return any(tool.cache for tool in self.tools) or any(
            _is_marked(part) for message in self.messages for part in message.parts
        )


def _is_marked(part: Part) -> bool:
    if isinstance(part, Text | Image):
        return part.cache is not None
    return isinstance(part, ToolResult) and any(inner.cache is not None for inner in part.parts)


# --- what comes back -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. ``raw`` is the vendor's own body when its wire is the caller's, to be passed on untouched.

    ``usage`` is None when the vendor did not say: unknown is not zero. ``mean_logprob`` is the mean of the natural
    logarithms of its tokens' probabilities, where they were asked for and given.
    """

    vendor_id: str
    vendor_model: str
    parts: tuple[Part, ...]
    finish_reason: FinishReason
    usage: Usage | None
    raw: bytes | None = None
    mean_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class StreamStart:
    """The vendor has begun to answer."""

    vendor_id: str
    vendor_model: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More of the reasoning that the vendor shows."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of the tool call ``index``; ``id`` and ``name`` come with its first piece."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RawFrames:
    """Whole SSE frames of the caller's own wire, to be forwarded as they are; they hold neither usage nor the end mark.

    ``output_bytes`` is about how many bytes of answer they carry, for the estimate when no usage comes; no fewer than
    they carry where the call is held in slices.
    """

    data: bytes
    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the answer ended; ``is_forwarded`` when a raw frame has told the client already."""

    reason: FinishReason
    is_forwarded: bool = False


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The vendor's final count of tokens."""

    usage: Usage


StreamEvent: TypeAlias = StreamStart | TextDelta | ThinkingDelta | ToolCallDelta | RawFrames | Finish | UsageReport
