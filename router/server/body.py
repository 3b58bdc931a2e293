"""Reading a request's body: bounded in bytes and in time, then as sound JSON."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError, RequestTimeoutError, RequestTooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

# A body over the limit is read on and forgotten, up to this many times the limit: a client that is still sending when
# its connection closes sees a reset and no answer, and SDKs retry that.
DISCARD_FACTOR = 4
# Far above what tool schemas reach, and below what orjson can write again (254).
DEPTH_MAX = 128
GZIP_MAGIC = b"\x1f\x8b"
SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


class ClientGoneError(Exception):
    """The client left before its request was whole: there is nobody to answer."""


async def read_body(
    receive: Callable[[], Awaitable[Any]], headers: Mapping[str, str], bytes_max: int, timeout_s: float
) -> bytes:
    """The whole body within one deadline. Raises RequestTooLargeError, RequestTimeoutError or ClientGoneError."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bytes_max:
        if "expect" not in headers:  # who asks first is told before sending anything
            await _discard(receive, DISCARD_FACTOR * bytes_max, timeout_s)
        raise RequestTooLargeError(f"the body has {declared} bytes, at most {bytes_max}")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                piece: bytes = message.get("body", b"")
                size += len(piece)
                if size > bytes_max:
                    break
                pieces.append(piece)
                if not message.get("more_body", False):
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except TimeoutError as error:
        raise RequestTimeoutError(f"the body did not arrive within {timeout_s:g} seconds") from error
    pieces.clear()
    if message.get("more_body", False):
        await _discard(receive, DISCARD_FACTOR * bytes_max, timeout_s)
    raise RequestTooLargeError(f"the body has more than {bytes_max} bytes")


async def _discard(receive: Callable[[], Awaitable[Any]], bytes_max: int, timeout_s: float) -> None:
    """Read and forget the rest of a body, bounded in bytes and time. Raises ClientGoneError."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while bytes_max > 0:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                bytes_max -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def parse_json_object(raw: bytes) -> dict[str, object]:
    """The body as a JSON object. Raises RequestError.

    NaN, Infinity, lone surrogates, invalid UTF-8, a byte order mark and a key that stands twice in one object are no
    sound JSON: which of two values is meant would be for each reader to guess.
    """
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(_unreadable(raw, error)) from None
    if not isinstance(parsed, dict):
        raise RequestError("the body must be a JSON object")
    keys = _keys_within_depth(parsed)
    if _keys_written(raw) != keys:
        _require_single_keys(raw)
    return parsed


def _unreadable(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """Why the body is no JSON: what a position alone would not tell comes first."""
    if not raw.strip():
        return "the body is empty: send a JSON object"
    if raw.startswith(GZIP_MAGIC):
        return "the body is compressed: send it plain, without Content-Encoding"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    if raw.startswith(codecs.BOM_UTF8):
        return "the body begins with a byte order mark: send UTF-8 without one"
    return f"the body is not JSON (line {error.lineno}, column {error.colno})"


def _keys_within_depth(parsed: dict[str, object]) -> int:
    """How many keys all objects hold together; raises RequestError when they are nested too deep."""
    keys = 0
    level: list[object] = [parsed]
    for _ in range(DEPTH_MAX):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                keys += len(each)
                inner += [child for child in each.values() if isinstance(child, dict | list)]
            elif isinstance(each, list):
                inner += [child for child in each if isinstance(child, dict | list)]
        if not inner:
            return keys
        level = inner
    raise RequestError(f"the body is nested more than {DEPTH_MAX} deep")


def _keys_written(raw: bytes) -> int | None:
    """How many keys the text spells out, by searches alone; None where only a parser could tell.

    A quote and a colon outside of text end a key; within text the quote has a backslash before it. Text that ends in
    a backslash, and white space before a colon, make that ambiguous.
    """
    if b'\\\\"' in raw or SPACED_COLON.search(raw) is not None:
        return None
    return raw.count(b'":') - raw.count(b'\\":')


def _require_single_keys(raw: bytes) -> None:
    """Raise RequestError when any object names a key twice; by the standard parser, for the rare doubtful body."""

    def single(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise RequestError("the body names a key twice in one object")

    json.loads(raw, object_pairs_hook=single)
