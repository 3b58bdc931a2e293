"""One pooled HTTP client for all vendors: what is sent, how long is waited, what went wrong. Knows no vendor."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import orjson

from router import __version__
from router.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError
from router.providers.refusals import status_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.policy import Upstream
    from router.ports import Call

CONNECTIONS_MAX = 2_000
KEEPALIVE_S = 30.0
ANSWER_BYTES_MAX = 64_000_000
ERROR_BYTES_MAX = 64_000
# Where an answer's text and its calls' arguments stand, up to the end of what arrived.
SHOWN_TEXT = re.compile(rb'"(?:text|content|arguments)"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)', re.DOTALL)
OK = 200
REDIRECT_FROM = 300

JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
# A compressed stream waits in the compressor for more; events are wanted as they are made.
STREAM_HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}


def open_session(connections_max: int = CONNECTIONS_MAX) -> aiohttp.ClientSession:
    """The pool; timeouts are per attempt, the environment's proxies and all cookies are ignored."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections_max, limit_per_host=0, keepalive_timeout=KEEPALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"tollgate/{__version__}"},
        json_serialize=lambda value: orjson.dumps(value).decode(),
        trust_env=False,
        auto_decompress=True,
    )


def headers_of(attempt_id: str, own: Mapping[str, str], *, is_streamed: bool) -> dict[str, str]:
    """The headers of one attempt: its id, by which a vendor's support can find it, and the vendor's own."""
    return {**(STREAM_HEADERS if is_streamed else JSON_HEADERS), "x-client-request-id": attempt_id, **own}


def first_byte_at_s(upstream: Upstream) -> float:
    """When, on the running loop's clock, an attempt that starts now must have begun to answer."""
    return asyncio.get_running_loop().time() + upstream.connect_timeout_s + upstream.first_byte_timeout_s


def ends_at_s(call: Call) -> float:
    """When, on the running loop's clock, an attempt that starts now must be over."""
    return asyncio.get_running_loop().time() + call.lasts_max_s


async def post(
    session: aiohttp.ClientSession, call: Call, url: str, body: bytes, headers: Mapping[str, str]
) -> aiohttp.ClientResponse:
    """Send one attempt; returns its open, successful response. Raises ProviderError with what the ledger must know."""
    vendor, upstream = call.deployment.name, call.upstream
    timeout = aiohttp.ClientTimeout(
        total=None,
        connect=upstream.connect_timeout_s,
        sock_connect=upstream.connect_timeout_s,
        sock_read=upstream.first_byte_timeout_s,
    )
    try:
        async with asyncio.timeout_at(first_byte_at_s(upstream)):
            response = await session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
    except aiohttp.ConnectionTimeoutError as error:
        raise ProviderTimeoutError(f"{vendor} did not accept a connection in time") from error
    except TimeoutError as error:
        raise ProviderTimeoutError(f"{vendor} sent no first byte in time", is_billed=True) from error
    except aiohttp.ClientConnectorError as error:
        raise ProviderUnavailableError(f"{vendor} cannot be reached") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        # Mostly a kept connection that the vendor closed as it was used, but it may have read the request.
        raise ProviderUnavailableError(f"{vendor} broke the connection before it answered", is_billed=True) from error
    except aiohttp.InvalidURL:
        raise ProviderError(f"{vendor} has no usable address") from None  # an address may hold a key
    except (aiohttp.ClientError, OSError) as error:
        raise ProviderError(f"{vendor} answered no HTTP: {type(error).__name__}", is_billed=True) from error
    except ValueError:
        raise ProviderError(f"{vendor}'s key holds characters that no header can") from None
    if response.status != OK:
        raise await _status_error(vendor, response, upstream)
    return response


def wait_between_bytes(response: aiohttp.ClientResponse, upstream: Upstream) -> None:
    """From here on it is the pause between two reads that is bounded, no longer the wait for the first."""
    connection = response.connection
    if connection is not None and connection.protocol is not None:
        connection.protocol.read_timeout = upstream.between_bytes_timeout_s
        connection.protocol.start_timeout()  # the clock that runs already was set for the first byte


async def _status_error(vendor: str, response: aiohttp.ClientResponse, upstream: Upstream) -> ProviderError:
    problem = b""
    try:
        async with asyncio.timeout(upstream.between_bytes_timeout_s):
            while len(problem) < ERROR_BYTES_MAX and (chunk := await response.content.readany()):
                problem += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status says enough
    finally:
        response.release()
    if response.status < REDIRECT_FROM:
        return ProviderError(f"{vendor} answered {response.status}", status=response.status, is_billed=True)
    return status_error(vendor, response.status, problem, response.headers)


def text_bytes_in(torn: bytes) -> int:
    """How many bytes of answer stand in a JSON body that cannot be read whole, on any of the wires."""
    found = SHOWN_TEXT.findall(torn)
    return sum(len(text) - text.count(b"\\") for text in found)


async def read_json(response: aiohttp.ClientResponse, call: Call, until_s: float) -> tuple[bytes, dict[str, object]]:
    """The whole body and its JSON object, read until ``until_s`` on the loop's clock and a pause between two reads.

    Raises ProviderError, billed, on anything else, with what was seen.
    """
    vendor, loop = call.deployment.name, asyncio.get_running_loop()
    wait_between_bytes(response, call.upstream)
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await response.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise ProviderError(f"{vendor} answered more than {ANSWER_BYTES_MAX} bytes", is_billed=True)
            if loop.time() > until_s:
                # A vendor that keeps the line open with blanks never pauses.
                message, seen_bytes = f"{vendor} did not end its answer in time", text_bytes_in(b"".join(chunks))
                raise ProviderTimeoutError(message, is_billed=True, seen_bytes=seen_bytes)
    except TimeoutError as error:
        message = f"{vendor} stopped in the middle of its answer"
        raise ProviderTimeoutError(message, is_billed=True, seen_bytes=text_bytes_in(b"".join(chunks))) from error
    except (aiohttp.ClientError, OSError) as error:
        message = f"{vendor} broke off its answer"
        raise ProviderError(message, is_billed=True, seen_bytes=text_bytes_in(b"".join(chunks))) from error
    finally:
        response.release()
    raw = b"".join(chunks)
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = f"{vendor} answered something that is not JSON"
        raise ProviderError(message, is_billed=True, seen_bytes=text_bytes_in(raw)) from error
    if not isinstance(parsed, dict):
        raise ProviderError(f"{vendor} answered JSON that is not an object", is_billed=True)
    return raw, parsed
