"""Reading a request's body: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError, RequestTimeoutError, RequestTooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

DEPTH_MAX = 128


class ClientGoneError(Exception):
    """The client left before its request was whole: there is nobody to answer."""


async def read_body(
    receive: Callable[[], Awaitable[Any]], headers: Mapping[str, str], bytes_max: int, timeout_s: float
) -> bytes:
    """The whole body. Raises RequestTooLargeError, RequestTimeoutError or ClientGoneError."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bytes_max:
        raise RequestTooLargeError(f"the body has {declared} bytes, at most {bytes_max}")
    message = await _next(receive, timeout_s)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return _bounded(body, bytes_max)
    pieces = [body]
    size = len(body)
    try:
        async with asyncio.timeout(timeout_s):
            while message.get("more_body"):
                message = await _next(receive, timeout_s)
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > bytes_max:
                    raise RequestTooLargeError(f"the body has more than {bytes_max} bytes")
    except TimeoutError as error:
        raise RequestTimeoutError(f"the body did not arrive within {timeout_s:g} seconds") from error
    return b"".join(pieces)


async def _next(receive: Callable[[], Awaitable[Any]], timeout_s: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_s):
            message: dict[str, Any] = await receive()
    except TimeoutError as error:
        raise RequestTimeoutError(f"the body did not arrive within {timeout_s:g} seconds") from error
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message


def _bounded(body: bytes, bytes_max: int) -> bytes:
    if len(body) > bytes_max:
        raise RequestTooLargeError(f"the body has more than {bytes_max} bytes")
    return body


def parse_json_object(raw: bytes) -> dict[str, object]:
    """The body as a JSON object. Raises RequestError; NaN, lone surrogates and invalid UTF-8 are no JSON."""
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON (line {error.lineno}, column {error.colno})") from None
    if not isinstance(parsed, dict):
        raise RequestError("the body must be a JSON object")
    if _depth_over(parsed, DEPTH_MAX):
        raise RequestError(f"the body is nested more than {DEPTH_MAX} deep")
    return parsed


def _depth_over(value: object, limit: int) -> bool:
    """Whether lists and objects are nested deeper than the limit; a breadth-first walk over containers alone."""
    level: list[object] = [value]
    for _ in range(limit):
        inner: list[object] = []
        for each in level:
            children = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
            inner += [child for child in children if isinstance(child, dict | list)]
        if not inner:
            return False
        level = inner
    return True
