"""A vendor's error answer as one of ours, without a word of what was sent: their messages can quote the prompt."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import orjson

from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.providers.counts import list_in, object_in

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_AFTER_MAX_S = 3_600.0
REJECTED = frozenset({400, 413, 415, 422})
BUSY = frozenset({408, 409, 425, 429})
SERVER_FAULT = 500
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
PLACE = re.compile(r"[A-Za-z_]+(?:[.\[\]]+[A-Za-z0-9_]+)*")
# A path in a message ends at the first step that is none of these or a number: the next may be the caller's own word.
STEPS = frozenset(
    {
        *("messages", "contents", "content", "parts", "role", "text", "image", "image_url", "url", "source"),
        *("base64", "data", "media_type", "tools", "custom", "function", "function_declarations"),
        *("functionDeclarations", "name", "description", "parameters", "input_schema", "tool_choice"),
        *("tool_result", "tool_use", "tool_use_id", "tool_call_id", "tool_calls", "system"),
        *("systemInstruction", "system_instruction", "max_tokens", "max_completion_tokens", "temperature"),
        *("top_p", "top_k", "stop", "stop_sequences", "seed", "frequency_penalty", "presence_penalty"),
        *("response_format", "json_schema", "schema", "output_config", "format", "effort", "thinking"),
        *("budget_tokens", "generation_config", "generationConfig", "stream", "stream_options", "model"),
        *("metadata", "user_id", "reasoning_effort", "logprobs", "parallel_tool_calls", "cache_control"),
        *("input", "arguments"),
    }
)
# Refusals that speak of us or of the deployment and not of the request, by a fixed phrase of the vendor's.
ACCOUNT_PHRASES = {
    b"credit balance is too low": "no credit",
    b"API_KEY_INVALID": "invalid key",
    b"API key not valid": "invalid key",
    b"User location is not supported": "location not supported",
}
ACCOUNT_WORDS = frozenset({"FAILED_PRECONDITION", "insufficient_quota", "billing_error", "billing_not_active"})
# What a stream's error event says by name -> the status that it would have had as an answer.
STATUS_OF_WORD = {
    "invalid_request_error": 400,
    "INVALID_ARGUMENT": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "PERMISSION_DENIED": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "RESOURCE_EXHAUSTED": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
HTTP_STATUSES = range(400, 600)
GATEWAY_TIMEOUT = 504


def parse_retry_after_s(text: str | None, now_s: float | None = None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or an HTTP date; None where it says nothing usable."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now_s is None else now_s)
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if seconds == seconds else None  # noqa: PLR0124  # NaN


def error_object_of(body: bytes) -> dict[str, object] | None:
    """The `error` object that all three wires answer with (Gemini sometimes in a list); None where there is none."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    return object_in(parsed, "error") or None


def word_of(error: Mapping[str, object]) -> str | None:
    """The vendor's own name for the error; a code is more telling than a type."""
    words = [error.get(name) for name in ("code", "type", "status")]
    return next((word for word in words if isinstance(word, str) and WORD.fullmatch(word)), None)


def place_of(error: Mapping[str, object]) -> str | None:
    """The field at fault, as far as it is a field of the wire and not a name that the caller gave."""
    violations = [
        each.get("field") for detail in list_in(error, "details") for each in list_in(detail, "fieldViolations")
    ]
    for said in (error.get("param"), *violations, error.get("message")):
        found = PLACE.match(said) if isinstance(said, str) else None
        kept: list[str] = []
        for step in re.split(r"[.\[\]]+", found[0] if found else ""):
            if step not in STEPS and not (kept and step.isdecimal()):
                break
            kept.append(step)
        if kept:
            return ".".join(kept)
    return None


def status_error(vendor: str, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """The error of an answer that is no success. Vendors bill none of these but, perhaps, a 504."""
    error = error_object_of(body)
    if error is None:
        return _error(vendor, status, "no error object", None, headers.get("Retry-After"))
    account = next((ours for phrase, ours in ACCOUNT_PHRASES.items() if phrase in body), None)
    word = word_of(error)
    if account is None and word in ACCOUNT_WORDS:
        account = word
    return _error(vendor, status, word or "unnamed error", place_of(error), headers.get("Retry-After"), account)


def event_error(vendor: str, error: Mapping[str, object], *, is_started: bool) -> ProviderError:
    """The error that a stream carries as an event; once it has begun the vendor may bill it."""
    word = word_of(error)
    code = error.get("code")
    status = code if isinstance(code, int) and code in HTTP_STATUSES else STATUS_OF_WORD.get(word or "", SERVER_FAULT)
    found = _error(vendor, status, word or "unnamed error", place_of(error), None)
    found.is_billed = is_started or found.is_billed
    return found


def _error(
    vendor: str, status: int, word: str, place: str | None, retry_after: str | None, account: str | None = None
) -> ProviderError:
    said = account or word
    message = f"{vendor} answered {status} ({said} at {place})" if place else f"{vendor} answered {status} ({said})"
    if account is None and status in REJECTED:
        return ProviderRejectedError(message, status=status)
    if account is None and status == GATEWAY_TIMEOUT:
        # Whoever stands before the model gave up waiting; the model may have worked on, and may be billed.
        return ProviderTimeoutError(message, status=status, is_billed=True)
    if account is None and (status in BUSY or status >= SERVER_FAULT):
        return ProviderUnavailableError(message, status=status, retry_after_s=parse_retry_after_s(retry_after))
    return ProviderError(message, status=status)
