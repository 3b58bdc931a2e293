"""Bytes that are no HTTP are refused in the shape of every other refusal."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn

from router.server import create_app, http_protocol
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


LABEL = b'{"decision_id": "dec_unknown", "ok": true}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LABEL), LABEL)


def asked(client: socket.socket, head: bytes, *parts: bytes) -> bytes:
    """The answer to a request, up to the end of its body."""
    client.sendall(head)
    for part in parts:
        client.sendall(part)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    found, _, body = answer.partition(b"\r\n\r\n")
    (length,) = (int(line.split(b":")[1]) for line in found.split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        body += client.recv(4096)
    return found + b"\r\n\r\n" + body


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"other"])
@pytest.mark.parametrize(
    ("framing", "parts"),
    [
        (b"Content-Length: %d" % len(LABEL), [LABEL]),
        (b"Content-Length: %d" % len(LABEL), [LABEL[:9], LABEL[9:]]),
        (b"Transfer-Encoding: chunked", [CHUNKED]),
        (b"Transfer-Encoding: chunked", [CHUNKED[:20], CHUNKED[20:]]),
    ],
)
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_read(
    address: tuple[str, int], protocol: bytes, framing: bytes, parts: list[bytes]
) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + b"\r\nHTTP2-Settings: AAEA\r\n"
    head = b"POST /v1/feedback HTTP/1.1\r\nHost: x\r\n" + offer + framing + b"\r\n\r\n"
    with socket.create_connection(address, timeout=10) as client:
        for _ in range(2):
            answer = asked(client, head, *parts)
            assert answer.startswith(b"HTTP/1.1 404 "), answer
            assert b'"decision_not_found"' in answer
        plain = b"POST /v1/feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        assert b'"decision_id"' in asked(client, plain), "the same connection serves on"


TRAILED = b"%x\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(LABEL), LABEL)
LINES = b'{"decision_id":\r\n\r\n\r\n\r\n"dec_unknown", "ok": true}'


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: %d" % len(LABEL), LABEL),
        (b"Content-Length: %d" % len(LINES), LINES),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding: chunked", TRAILED),
        (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(LINES), LINES)),
    ],
    ids=["length", "lines", "chunked", "trailed", "chunked-lines"],
)
@pytest.mark.parametrize("cut", [None, -1, -2, -3, -4, -5, 0, 1, 7])
def test_what_follows_a_request_with_an_offer_in_one_segment_is_answered_too(
    address: tuple[str, int], framing: bytes, body: bytes, cut: int | None
) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
    first = b"POST /v1/feedback HTTP/1.1\r\nHost: x\r\n" + offer + framing + b"\r\n\r\n"
    bare = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    whole = first + body + first + body + bare + last
    at = len(whole) if cut is None else len(first) + len(body) + cut
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(whole[:at])
        if whole[at:]:
            time.sleep(0.05)
            client.sendall(whole[at:])
        answer = heard(client)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"404", b"404", b"200", b"200"]


def test_an_offer_without_a_body_is_served(address: tuple[str, int]) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    with socket.create_connection(address, timeout=10) as client:
        assert asked(client, head).startswith(b"HTTP/1.1 200 ")
        assert asked(client, head).startswith(b"HTTP/1.1 200 ")


def heard(client: socket.socket) -> bytes:
    answer = b""
    while part := client.recv(4096):
        answer += part
    return answer


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_protocol, "HEAD_BYTES_MAX", 4_000)


@pytest.mark.usefixtures("_impatient")
def test_a_head_that_does_not_end_is_timed_out(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        head, _, body = heard(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == "request_timeout"


@pytest.mark.usefixtures("_impatient")
def test_the_next_head_on_a_kept_connection_is_timed_out_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /healthz HT")
        assert b"HTTP/1.1 408 " in heard(client)


@pytest.mark.usefixtures("_impatient")
def test_who_never_speaks_is_let_go(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client:
        assert heard(client) == b""


@pytest.mark.usefixtures("_impatient")
def test_a_head_without_end_is_refused_by_its_size(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 5_000)
        head, _, body = heard(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "head" in json.loads(body)["error"]["message"]
