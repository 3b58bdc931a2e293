"""Everything that is not spoken natively (Bedrock, Vertex, Azure, ...) through litellm, imported when first needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.chat import Finish, Reply, StreamStart, UsageReport
from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.providers.counts import list_in, object_in, text_in
from router.providers.openai import delta_events, finish_of, parts_of, usage_of
from router.providers.openai_body import body_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.chat import StreamEvent
    from router.ports import Call, ReplyStream

OURS_ALONE = ("stream_options",)


def _litellm() -> Any:  # noqa: ANN401  # a module without types
    # Without this the import fetches another price map from the network and waits for it.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm  # noqa: PLC0415  # seconds and 170 MB, for those who need it

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


def _error_of(vendor: str, error: Exception) -> ProviderError:
    """Exceptions of litellm by the status that they carry; their texts can quote the prompt and are left out."""
    status = getattr(error, "status_code", None)
    message = f"{vendor} failed through litellm: {type(error).__name__}"
    if "Timeout" in type(error).__name__:
        return ProviderTimeoutError(message, is_billed=True)
    if status in (400, 404, 413, 422):
        return ProviderRejectedError(message, status=status)
    if status in (401, 403):
        return ProviderError(message, status=status)
    return ProviderUnavailableError(message, status=status if isinstance(status, int) else None)


@dataclass(frozen=True, slots=True)
class LongTailProvider:
    """The Provider of every host that litellm knows and we do not speak to ourselves."""

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer."""
        answer = (await self._ask(call, is_streamed=False)).model_dump()
        choices = list_in(answer, "choices")
        if not choices:
            raise ProviderError(f"{call.deployment.model.vendor} answered without a choice", is_billed=True)
        return Reply(
            vendor_id=text_in(answer, "id"),
            vendor_model=text_in(answer, "model"),
            parts=parts_of(object_in(choices[0], "message")),
            finish_reason=finish_of(choices[0].get("finish_reason")),
            usage=usage_of(answer.get("usage")),
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream."""
        return _LongTailStream(await self._ask(call, is_streamed=True), call.deployment.model.vendor)

    async def _ask(self, call: Call, *, is_streamed: bool) -> Any:  # noqa: ANN401  # litellm's own types
        body = body_of(call, is_streamed=is_streamed)
        body["model"] = call.deployment.model.provider_model
        if call.deployment.model.api_base:
            body["api_base"] = call.deployment.api_base
        if call.deployment.api_key:
            body["api_key"] = call.deployment.api_key
        try:
            return await _litellm().acompletion(
                **body, num_retries=0, timeout=call.upstream.first_byte_timeout_s, drop_params=False
            )
        except Exception as error:  # noqa: BLE001  # the seam to litellm, whose tree is open
            raise _error_of(call.deployment.model.vendor, error) from None


class _LongTailStream:
    """litellm's chunks as events."""

    def __init__(self, chunks: Any, vendor: str) -> None:  # noqa: ANN401  # litellm's own type
        self._chunks, self._vendor = chunks, vendor

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self._events()

    async def _events(self) -> AsyncIterator[StreamEvent]:
        started = False
        try:
            async for chunk in self._chunks:
                plain = chunk.model_dump()
                if not started:
                    started = True
                    yield StreamStart(text_in(plain, "id"), text_in(plain, "model"))
                for choice in list_in(plain, "choices")[:1]:
                    for event in delta_events(object_in(choice, "delta")):
                        yield event
                    if choice.get("finish_reason") is not None:
                        yield Finish(finish_of(choice["finish_reason"]))
                usage = usage_of(plain.get("usage"))
                if usage is not None:
                    yield UsageReport(usage)
        except Exception as error:  # noqa: BLE001  # the seam to litellm, whose tree is open
            raise _error_of(self._vendor, error) from None

    async def aclose(self) -> None:
        """Let litellm close its response."""
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()
