"""Errors as the API that was called words them. Rendered once, here."""

from __future__ import annotations

import math

import orjson

from router.errors import ProviderError, RouterError

# SDKs retry 408, 409, 429 and 5xx by themselves; what cannot get better must say so, or a refusal becomes a loop.
NEVER_RETRIED = frozenset({400, 401, 402, 403, 404, 409, 413, 422})


class InternalError(RouterError):
    """A bug of ours; the log has its traceback under the same decision id."""


def headers_of(error: RouterError) -> list[tuple[bytes, bytes]]:
    """The headers that go out with an error."""
    headers: list[tuple[bytes, bytes]] = []
    if error.http_status in NEVER_RETRIED:
        headers.append((b"x-should-retry", b"false"))
    wait_s = error.retry_after_s if isinstance(error, ProviderError) else error.data.get("retry_after_s")
    if isinstance(wait_s, int | float):
        headers.append((b"retry-after", str(math.ceil(wait_s)).encode()))
    return headers


def openai_error(error: RouterError) -> dict[str, object]:
    """The body in OpenAI's shape; ``code`` is always text."""
    body: dict[str, object] = {
        "message": error.message,
        "type": error.error_type,
        "param": error.param,
        "code": error.code,
    }
    if "candidates" in error.data:
        body["candidates"] = error.data["candidates"]
    return {"error": body}


def openai_error_bytes(error: RouterError) -> bytes:
    """The same, encoded."""
    return orjson.dumps(openai_error(error))
