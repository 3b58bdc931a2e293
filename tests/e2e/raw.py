"""Requests that no SDK would send, and what a gateway process must still be after them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.invoice import attempts_of
from router.ledger import RequestQuery
from router.stores import open_sql_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.invoice import Attempt
    from benchmarks.stack import GatewayProcess
    from router.ledger import RequestRow

CHAT = "/v1/chat/completions"
WAIT_S = 60.0
HELLO: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape; asserts that it is one."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        assert {"message", "type", "param", "code"} <= set(found), found
        assert isinstance(found["code"], str)
        return found


def ask(gateway: GatewayProcess, body: object = HELLO, **headers: str) -> Answer:
    """POST a body, bytes as they are and anything else as JSON; ``x_quality_tier`` is a header's name here."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=WAIT_S)) as connection:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", CHAT, raw, {"Content-Type": "application/json", **names})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def connected(gateway: GatewayProcess) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=WAIT_S)


def head_of(length: int) -> bytes:
    """The head of a chat request with this many bytes to come."""
    lines = (f"POST {CHAT} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what other processes do."""
    deadline_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.05)


def books_of(gateway: GatewayProcess) -> tuple[list[RequestRow], list[Attempt]]:
    """Every request of the gateway's ledger, and every attempt of theirs."""

    async def read() -> tuple[list[RequestRow], list[Attempt]]:
        ledger = await open_sql_ledger(gateway.ledger_url, home=gateway.home)
        try:
            rows = [row async for row in ledger.requests(RequestQuery())]
            attempts: list[Attempt] = []
            for row in rows:
                found = await ledger.request(row.decision_id)
                assert found is not None
                attempts += attempts_of(found[1])
        finally:
            await ledger.aclose()
        return rows, attempts

    return asyncio.run(read())


def until_settled(gateway: GatewayProcess, requests: int) -> tuple[list[RequestRow], list[Attempt]]:
    """The books, once this many requests are in them and none is open."""
    books: list[tuple[list[RequestRow], list[Attempt]]] = []

    def is_settled() -> bool:
        books[:] = [books_of(gateway)]
        rows = books[0][0]
        return len(rows) >= requests and all(row.outcome != "open" for row in rows)

    until(is_settled, f"{requests} settled requests")
    return books[0]


def require_sound(gateway: GatewayProcess) -> None:
    """The process answers, and its ledger verifies."""
    answer = ask(gateway)
    assert answer.status == 200, answer.body
    checked = gateway.command("ledger", "verify", "--json")
    assert checked.returncode == 0, checked.stdout.decode()
