from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.errors import RequestTimeoutError, RequestTooLargeError
from router.server.body import DISCARD_FACTOR, ClientGoneError, read_body

MAX = 1_000


class Client:
    """Sends what the test says: pieces of a body, a disconnect, or nothing any more."""

    def __init__(self, *pieces: bytes, then: str = "end") -> None:
        self.pieces = list(pieces)
        self.then = then
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        if self.pieces:
            piece = self.pieces.pop(0)
            self.taken += len(piece)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.then != "end"}
        if self.then == "leaves":
            return {"type": "http.disconnect"}
        await asyncio.sleep(3_600)
        raise AssertionError


async def read(client: Client, timeout_s: float = 30.0, **headers: str) -> bytes:
    return await read_body(client, headers, MAX, timeout_s)


async def test_a_body_at_the_limit_is_read_whole() -> None:
    assert await read(Client(b"x" * 400, b"y" * 600)) == b"x" * 400 + b"y" * 600
    assert await read(Client(b"x" * 1_000)) == b"x" * 1_000
    assert await read(Client(b"")) == b""


@pytest.mark.parametrize("headers", [{}, {"content-length": "3000"}, {"content-length": "x"}])
async def test_a_body_over_the_limit_is_read_on_so_that_its_sender_hears_the_refusal(headers: dict[str, str]) -> None:
    client = Client(*[b"x" * 500] * 6)
    with pytest.raises(RequestTooLargeError):
        await read_body(client, headers, MAX, 30.0)
    assert client.taken == 3_000


@pytest.mark.parametrize("headers", [{}, {"content-length": "1000000"}])
async def test_reading_on_is_bounded_in_bytes(headers: dict[str, str]) -> None:
    client = Client(*[b"x" * 500] * 2_000)
    with pytest.raises(RequestTooLargeError):
        await read_body(client, headers, MAX, 30.0)
    assert client.taken <= (DISCARD_FACTOR + 2) * MAX


@pytest.mark.parametrize("headers", [{}, {"content-length": "9000"}])
async def test_reading_on_is_bounded_in_time(headers: dict[str, str]) -> None:
    with pytest.raises(RequestTooLargeError):
        await read_body(Client(b"x" * 1_500, then="is silent"), headers, MAX, 0.01)


async def test_who_asks_before_sending_is_refused_before_sending() -> None:
    client = Client(b"x" * 2_000)
    with pytest.raises(RequestTooLargeError):
        await read_body(client, {"content-length": "2000", "expect": "100-continue"}, MAX, 30.0)
    assert client.taken == 0


@pytest.mark.parametrize("headers", [{}, {"content-length": "9000"}])
@pytest.mark.parametrize("n_bytes", [10, 1_500])
async def test_a_client_that_leaves_is_answered_by_nobody(n_bytes: int, headers: dict[str, str]) -> None:
    with pytest.raises(ClientGoneError):
        await read_body(Client(b"x" * n_bytes, then="leaves"), headers, MAX, 30.0)


async def test_a_body_that_never_ends_is_timed_out() -> None:
    with pytest.raises(RequestTimeoutError):
        await read(Client(b"x", then="is silent"), timeout_s=0.01)
