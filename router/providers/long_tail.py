"""Everything that is not spoken natively (Bedrock, Vertex, Azure, ...) through litellm, imported when first needed."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from router.chat import Finish, Reply, StreamStart, UsageReport
from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.providers.counts import count_in, count_or_zero_in, list_in, object_in, text_in
from router.providers.http import ends_at_s
from router.providers.openai_answer import delta_events, finish_of, parts_of
from router.providers.openai_answer import usage_of as openai_usage_of
from router.providers.openai_body import body_of
from router.providers.refusals import BUSY, REJECTED, SERVER_FAULT, parse_retry_after_s
from router.tokens import TokenUsage, Usage
from router.unforeseen import unforeseen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.chat import StreamEvent
    from router.policy import Upstream
    from router.ports import Call, ReplyStream

# What of a caller's body is litellm's to see. Its arguments are a namespace of its own: `api_base` would send the key
# elsewhere, `fallbacks` ask and bill another model, `mock_response` answer without a vendor.
PASSED = frozenset(
    {
        *("messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "stop", "n", "user"),
        *("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed"),
        *("logit_bias", "logprobs", "top_logprobs", "reasoning_effort", "verbosity"),
        *("max_tokens", "max_completion_tokens", "stream", "stream_options"),
    }
)
LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
# What litellm calls any break of the connection; it carries the status of a server's fault, but no server spoke.
BROKEN_CONNECTION = "APIConnectionError"


def _litellm() -> Any:  # noqa: ANN401  # a module without types
    # Without this the import fetches another price map from the network and waits for it.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm  # noqa: PLC0415  # seconds and 170 MB, for those who need it

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    # Else it fetches a tokenizer from the network, on the event loop, to count what the vendor has counted already.
    litellm.disable_hf_tokenizer_download = True
    for name in LOGGERS:  # its error lines quote what vendors say, and vendors quote prompts
        logging.getLogger(name).disabled = True
    return litellm


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets of litellm's `usage`, in which prompt tokens include what the cache read and what it wrote."""
    plain = openai_usage_of(usage)
    details = object_in(usage, "prompt_tokens_details")
    written = count_or_zero_in(usage, "cache_creation_input_tokens")
    by_ttl = object_in(details, "cache_creation_token_details") or object_in(usage, "cache_creation_token_details")
    write_1h = count_or_zero_in(by_ttl, "ephemeral_1h_input_tokens")
    if plain is None or written is None or write_1h is None:
        return None
    written = written or count_in(details, "cache_creation_tokens") or 0
    tokens = plain.tokens
    if not written:
        return plain
    if written > tokens.input_uncached or write_1h > written:
        return None
    return Usage(
        TokenUsage(
            input_uncached=tokens.input_uncached - written,
            cache_read=tokens.cache_read,
            cache_write_5m=written - write_1h,
            cache_write_1h=write_1h,
            output_text=tokens.output_text,
            output_reasoning=tokens.output_reasoning,
        )
    )


def error_of(vendor: str, error: Exception, *, is_started: bool) -> ProviderError:
    """Exceptions of litellm by the status that they carry; their texts can quote the prompt and are left out."""
    name, status = type(error).__name__, getattr(error, "status_code", None)
    message = f"{vendor} failed through litellm: {name}"
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return ProviderTimeoutError(message, is_billed=True)
    if not isinstance(status, int):
        return ProviderError(message, is_billed=is_started)
    if status in REJECTED:
        return ProviderRejectedError(message, status=status, is_billed=is_started)
    if status in BUSY or status >= SERVER_FAULT:
        headers = getattr(error, "litellm_response_headers", None) or {}
        retry_after_s = parse_retry_after_s(headers.get("retry-after"))
        is_billed = is_started or (name == BROKEN_CONNECTION and not _is_refused(error))
        return ProviderUnavailableError(message, status=status, is_billed=is_billed, retry_after_s=retry_after_s)
    return ProviderError(message, status=status, is_billed=is_started)


def _is_refused(error: BaseException) -> bool:
    """Whether the cause is a connection that never came about, so that nothing was sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError) or type(cause).__name__ == "ConnectError":
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@dataclass(frozen=True, slots=True)
class LongTailProvider:
    """The Provider of every host that litellm knows and we do not speak to ourselves."""

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer."""
        answer = (await _ask(call, is_streamed=False)).model_dump()
        choices = list_in(answer, "choices")
        if not choices:
            raise ProviderError(f"{call.deployment.name} answered without a choice", is_billed=True)
        return Reply(
            vendor_id=text_in(answer, "id"),
            vendor_model=text_in(answer, "model"),
            parts=parts_of(object_in(choices[0], "message")),
            finish_reason=finish_of(choices[0].get("finish_reason")),
            usage=usage_of(answer.get("usage")),
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        until_s = ends_at_s(call)
        chunks = await _ask(call, is_streamed=True)
        return await LongTailStream(chunks, call.deployment.name, call.upstream, until_s).begin()


async def _ask(call: Call, *, is_streamed: bool) -> Any:  # noqa: ANN401  # litellm's own types
    body = {name: value for name, value in body_of(call, is_streamed=is_streamed).items() if name in PASSED}
    body["model"] = call.deployment.model.provider_model
    if call.deployment.model.api_base:
        body["api_base"] = call.deployment.api_base
    if call.deployment.api_key:
        body["api_key"] = call.deployment.api_key
    vendor = call.deployment.name
    try:
        litellm = await asyncio.to_thread(_litellm)
        async with asyncio.timeout(call.upstream.connect_timeout_s + call.upstream.first_byte_timeout_s):
            return await litellm.acompletion(
                **body,
                num_retries=0,
                max_retries=0,
                timeout=call.upstream.first_byte_timeout_s,
                drop_params=False,
                extra_headers={"x-client-request-id": call.attempt_id},
            )
    except Exception as error:  # noqa: BLE001  # the seam to litellm, whose tree is open
        raise error_of(vendor, error, is_started=False) from None


class LongTailStream:
    """litellm's chunks as events."""

    def __init__(self, chunks: Any, vendor: str, upstream: Upstream, until_s: float = inf) -> None:  # noqa: ANN401
        self._until_s = until_s
        self._chunks, self._vendor, self._upstream = chunks, vendor, upstream
        self._iterator = aiter(chunks)
        self._first: dict[str, object] | None = None
        self._has_finish = False

    async def begin(self) -> LongTailStream:
        """Wait for the first chunk. Raises ProviderError."""
        self._first = await self._next(self._upstream.first_byte_timeout_s)
        if self._first is None:
            raise ProviderError(f"{self._vendor} ended its stream without an event", is_billed=True)
        return self

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self._understood()

    @property
    def usage_so_far(self) -> TokenUsage | None:
        """None: litellm hands on no count before the last."""
        return None

    def pass_over(self) -> bool:
        """Behind an event that litellm could not read there is nothing to be had."""
        return False

    async def _next(self, timeout_s: float) -> dict[str, object] | None:
        try:
            async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + timeout_s, self._until_s)):
                chunk: dict[str, object] = (await anext(self._iterator)).model_dump()
                return chunk
        except StopAsyncIteration:
            return None
        except Exception as error:  # noqa: BLE001  # the seam to litellm, whose tree is open
            raise error_of(self._vendor, error, is_started=self._first is not None) from None

    async def _understood(self) -> AsyncIterator[StreamEvent]:
        try:
            async for event in self._events():
                yield event
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001  # what a vendor sends has no bounds, and its stream needs an end
            raise unforeseen(self._vendor, error) from None

    async def _events(self) -> AsyncIterator[StreamEvent]:
        chunk = self._first
        assert chunk is not None, "begin first"
        yield StreamStart(text_in(chunk, "id"), text_in(chunk, "model"))
        while chunk is not None:
            for choice in list_in(chunk, "choices")[:1]:
                for event in delta_events(object_in(choice, "delta")):
                    yield event
                if choice.get("finish_reason"):
                    self._has_finish = True
                    yield Finish(finish_of(choice["finish_reason"]))
            usage = usage_of(chunk.get("usage"))
            if usage is not None:
                yield UsageReport(usage)
            chunk = await self._next(self._upstream.between_bytes_timeout_s)
        if not self._has_finish:
            raise ProviderError(f"{self._vendor} ended its stream without an end", is_billed=True)

    async def aclose(self) -> None:
        """Let litellm close its response."""
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()
