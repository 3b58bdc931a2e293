"""Errors as the API that was called words them. Rendered once, here."""

from __future__ import annotations

import logging
import math
import secrets
import traceback
from pathlib import PurePath

import orjson

from router.errors import ProviderError, RequestError, RouterError

log = logging.getLogger("tollgate")

# SDKs retry 408, 409, 429 and 5xx by themselves; what cannot get better must say so, or a refusal becomes a loop.
NEVER_RETRIED = frozenset({400, 401, 402, 403, 404, 405, 409, 413, 422})
# The rest of such a body is not worth reading.
CLOSES_CONNECTION = frozenset({408, 413})
UNAUTHORIZED = 401
# What an error's body says beside its message, where the error has it.
SHOWN = ("candidates", "budget", "scope", "limit_usd", "headroom_usd", "resets_at", "guard", "guard_id")
FRAMES_MAX = 12


class RouteNotFoundError(RequestError):
    """No such route."""

    code = "not_found"
    http_status = 404


class MethodNotAllowedError(RequestError):
    """The route exists, and not with this method."""

    code = "method_not_allowed"
    http_status = 405


class InternalError(RouterError):
    """A bug of ours; the log has where it happened under the same request id."""


def internal_error_of(error: BaseException) -> InternalError:
    """What the caller is told of a bug. The log gets its type and places: its text could hold a prompt."""
    request_id = f"req_{secrets.token_hex(12)}"
    frames = [
        f"{PurePath(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    fields = {"request_id": request_id, "error_type": type(error).__name__, "frames": frames[-FRAMES_MAX:]}
    log.error("internal error", extra={"fields": fields})
    return InternalError(f"internal error {request_id}; the gateway's log has more", data={"request_id": request_id})


def headers_of(error: RouterError) -> list[tuple[bytes, bytes]]:
    """The headers that go out with an error."""
    status = error.http_status
    headers: list[tuple[bytes, bytes]] = []
    if status in NEVER_RETRIED:
        headers.append((b"x-should-retry", b"false"))
    if status in CLOSES_CONNECTION:
        headers.append((b"connection", b"close"))
    if status == UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    wait_s = error.retry_after_s if isinstance(error, ProviderError) else error.data.get("retry_after_s")
    if isinstance(wait_s, int | float):
        headers.append((b"retry-after", str(max(1, math.ceil(wait_s))).encode()))
    request_id = error.data.get("request_id")
    if isinstance(request_id, str):
        headers.append((b"x-request-id", request_id.encode()))
    if error.decision_id is not None:
        headers.append((b"x-router-decision-id", error.decision_id.encode()))
    return headers


def openai_error(error: RouterError) -> dict[str, object]:
    """The body in OpenAI's shape; ``code`` is always text."""
    body: dict[str, object] = {
        "message": error.message,
        "type": error.error_type,
        "param": error.param,
        "code": error.code,
    }
    body |= {name: error.data[name] for name in SHOWN if name in error.data}
    return {"error": body}


def openai_error_bytes(error: RouterError) -> bytes:
    """The same, encoded."""
    return orjson.dumps(openai_error(error))
