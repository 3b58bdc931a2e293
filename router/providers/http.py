"""One pooled HTTP client for all vendors: timeouts, errors by status, server-sent events. Knows no vendor."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp
import orjson

from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from router.policy import Upstream

CONNECTIONS_MAX = 2_000
ANSWER_BYTES_MAX = 64_000_000
ERROR_BYTES_MAX = 64_000
RETRY_AFTER_MAX_S = 3_600.0
REJECTED = frozenset({400, 404, 405, 409, 413, 415, 422})
UNAVAILABLE_FROM = 500
TOO_MANY = 429
REQUEST_TIMEOUT = 408


def open_session() -> aiohttp.ClientSession:
    """The pool; timeouts are per attempt, the environment's proxies and cookies are ignored."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, limit_per_host=0, keepalive_timeout=30),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        json_serialize=lambda value: orjson.dumps(value).decode(),
        trust_env=False,
        auto_decompress=True,
    )


def parse_retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or an HTTP date; None where it says nothing usable."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if seconds == seconds else None  # noqa: PLR0124  # NaN


def error_kind_of(body: bytes) -> str:
    """The vendor's own error type or status word, never its message: messages can quote the prompt."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "no JSON"
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return "no error object"
    for name in ("type", "status", "code"):
        word = error.get(name)
        if isinstance(word, str) and len(word) <= 64 and word.replace("_", "").replace("-", "").isalnum():  # noqa: PLR2004
            return word
    return "unnamed error"


def status_error(vendor: str, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """The error of an answer that is no success. Vendors bill none of these."""
    message = f"{vendor} answered {status} ({error_kind_of(body)})"
    retry_after_s = parse_retry_after_s(headers.get("Retry-After"))
    if status in REJECTED:
        return ProviderRejectedError(message, status=status)
    if status in (TOO_MANY, REQUEST_TIMEOUT) or status >= UNAVAILABLE_FROM:
        return ProviderUnavailableError(message, status=status, retry_after_s=retry_after_s)
    return ProviderError(message, status=status)


async def post(
    session: aiohttp.ClientSession, vendor: str, url: str, body: bytes, headers: Mapping[str, str], upstream: Upstream
) -> aiohttp.ClientResponse:
    """Send one attempt; returns its open, successful response. Raises ProviderError with what the ledger must know."""
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=upstream.connect_timeout_s, sock_read=upstream.between_bytes_timeout_s
    )
    try:
        async with asyncio.timeout(upstream.connect_timeout_s + upstream.first_byte_timeout_s):
            response = await session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
    except aiohttp.ConnectionTimeoutError as error:
        raise ProviderUnavailableError(f"{vendor} did not accept a connection in time") from error
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise ProviderTimeoutError(f"{vendor} sent no first byte in time", is_billed=True) from error
    except aiohttp.ClientConnectorError as error:
        raise ProviderUnavailableError(f"{vendor} cannot be reached") from error
    except aiohttp.ClientError as error:
        # The connection went away after the request may have been sent.
        raise ProviderError(f"{vendor} broke the connection: {type(error).__name__}", is_billed=True) from error
    if response.status == 200:  # noqa: PLR2004
        return response
    try:
        async with asyncio.timeout(upstream.between_bytes_timeout_s):
            problem = await response.content.read(ERROR_BYTES_MAX)
    except (TimeoutError, aiohttp.ClientError):
        problem = b""
    finally:
        response.release()
    raise status_error(vendor, response.status, problem, response.headers)


async def read_json(response: aiohttp.ClientResponse, vendor: str) -> tuple[bytes, dict[str, object]]:
    """The whole body and its JSON object. Raises ProviderError, billed, on anything else."""
    try:
        raw = await response.read()
    except TimeoutError as error:
        raise ProviderTimeoutError(f"{vendor} stopped in the middle of its answer", is_billed=True) from error
    except aiohttp.ClientError as error:
        raise ProviderError(f"{vendor} broke off its answer", is_billed=True) from error
    finally:
        response.release()
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProviderError(f"{vendor} answered something that is not JSON", is_billed=True) from error
    if not isinstance(parsed, dict):
        raise ProviderError(f"{vendor} answered JSON that is not an object", is_billed=True)
    return raw, parsed


async def frames_of(response: aiohttp.ClientResponse, vendor: str) -> AsyncIterator[list[bytes]]:
    """Whole server-sent event frames, as many as each read completes, without their blank line.

    Raises ProviderError, billed, when the connection breaks or stalls; ends quietly at its end, whole or not: the wire
    knows what its last frame must be.
    """
    pending = b""
    try:
        async for chunk in response.content.iter_any():
            data = pending + chunk if pending else chunk
            if b"\r" in data:
                if data.endswith(b"\r"):
                    pending = data
                    continue
                data = data.replace(b"\r\n", b"\n")
            *whole, pending = data.split(b"\n\n")
            if len(pending) > ANSWER_BYTES_MAX:
                raise ProviderError(f"{vendor} sent an event without end", is_billed=True)
            if whole:
                yield whole
    except TimeoutError as error:
        raise ProviderTimeoutError(f"{vendor} stopped in the middle of its stream", is_billed=True) from error
    except aiohttp.ClientError as error:
        raise ProviderError(f"{vendor} broke off its stream", is_billed=True) from error
    if pending.strip():
        yield [pending]


def data_of(frame: bytes) -> bytes | None:
    """The data of a frame, None for a comment or a bare event name."""
    if frame.startswith(b"data:") and b"\n" not in frame:
        return frame[5:].strip()
    lines = [line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def parse_data(data: bytes, vendor: str) -> dict[str, object]:
    """A frame's JSON object. Raises ProviderError, billed."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProviderError(f"{vendor} sent an event that is not JSON", is_billed=True) from error
    if not isinstance(parsed, dict):
        raise ProviderError(f"{vendor} sent an event that is not an object", is_billed=True)
    return parsed
