"""Bytes that are no HTTP are refused in the shape of every other refusal."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn

from router.server import create_app
from router.server.http_protocol import ShapedHttpProtocol
from tests.router.server.fakes import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    app = create_app(parts_of())
    config = uvicorn.Config(
        app, http=ShapedHttpProtocol, log_config=None, access_log=False, lifespan="off", loop="asyncio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield sock.getsockname()
    finally:
        server.should_exit = True
        thread.join(20)
        sock.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"BREW /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Session-Id: \x7f\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 sk-secret",
    ],
    ids=["method", "header", "length", "tls"],
)
def test_what_is_no_http_gets_the_shape_and_a_closed_connection(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(sent)
        answer = b""
        while part := client.recv(4096):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-should-retry: false" in head
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert (error["code"], error["type"], error["param"]) == ("invalid_request", "invalid_request_error", None)
    assert b"sk-secret" not in answer


def test_a_sound_request_on_the_same_protocol_is_served(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := client.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ")
