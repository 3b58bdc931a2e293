"""A load generator that costs little beside what it measures, and believes no response that it has not read.

``closed_loop`` keeps N connections busy; ``open_loop`` sends at a fixed rate, whatever comes back. Times are seconds.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from benchmarks.processes import BenchmarkError

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
OK = b"200"
DRAIN_S = 300.0

# Says what is wrong with a body, None where nothing is.
Check: TypeAlias = Callable[[bytes], str | None]


@dataclass(slots=True)
class Tally:
    """What a load has seen."""

    latencies_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0


def dechunked(body: bytes) -> bytes:
    """The content of a whole chunked body."""
    pieces: list[bytes] = []
    place = 0
    while True:
        line_end = body.index(b"\r\n", place)
        size = int(body[place:line_end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(pieces)
        start = line_end + 2
        pieces.append(body[start : start + size])
        place = start + size + 2


class ResponseReader:
    """Bytes of one response until it is whole."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._head: bytes | None = None
        self._have = 0
        self._size = 0

    def feed(self, data: bytes) -> bool:
        """Take a read; whether the response is whole now. Raises BenchmarkError on what no server should send."""
        if self._head is None:
            if self._pieces:
                data = b"".join((*self._pieces, data))
                self._pieces.clear()
            head, separator, data = data.partition(HEAD_END)
            if not separator:
                self._pieces.append(head)
                return False
            self._head = head.lower()
            self._size = self._length()
        self._pieces.append(data)
        self._have += len(data)
        if self._size >= 0:
            return self._have >= self._size
        return data.endswith(LAST_CHUNK) or (len(data) < len(LAST_CHUNK) and self._joined().endswith(LAST_CHUNK))

    def _length(self) -> int:
        assert self._head is not None
        for line in self._head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding" and b"chunked" in value:
                return -1
        raise BenchmarkError("a response has neither a length nor chunks")

    def _joined(self) -> bytes:
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def fault(self, check: Check) -> str | None:
        """What is wrong with the whole response; and be ready for the next."""
        assert self._head is not None
        status = self._head.split(b" ", 2)[1]
        body = self._joined()
        body = body if self._size >= 0 else dechunked(body)
        self._pieces, self._head, self._have = [], None, 0
        if status != OK:
            return f"status {status.decode()}: {body[:300]!r}"
        return check(body)


class Connection(asyncio.Protocol):
    """One kept connection; ``on_done`` is called after every response, with its latency and what was wrong."""

    def __init__(self, check: Check, on_done: Callable[[Connection, float, str | None], None]) -> None:
        self._check = check
        self._on_done = on_done
        self._reader = ResponseReader()
        self._transport: asyncio.Transport | None = None
        self._sent_s = 0.0
        self._is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, a transport by its methods only

    def send(self, request: bytes) -> None:
        """Send one request; the last must have been answered."""
        self._is_busy = True
        self._sent_s = time.perf_counter()
        if self._transport is None:
            self._done("the connection was closed between two requests")
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            if self._reader.feed(data):
                self._done(self._reader.fault(self._check))
        except (BenchmarkError, ValueError, IndexError) as error:
            self._done(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed: an error while a response is awaited."""
        self._transport = None
        if self._is_busy:
            self._done(f"the connection broke before the response was whole: {exc}")

    def _done(self, fault: str | None) -> None:
        latency_s = time.perf_counter() - self._sent_s
        self._is_busy = False
        self._on_done(self, latency_s, fault)

    def close(self) -> None:
        """Close; nothing is awaited any more."""
        if self._transport is not None:
            self._transport.close()


async def closed_loop(
    host: str, port: int, requests: Iterator[bytes], check: Check, *, connections: int, seconds: float
) -> Tally:
    """Send the next request on each connection as soon as the last is answered, for so long; then wait for the rest.

    ``seconds`` may be without end (``math.inf``) where the requests have one. The time counted ends with the last
    answer, so that no request is counted in part. Stops at the first error.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    finished: asyncio.Future[None] = loop.create_future()
    busy = connections
    deadline_s = time.perf_counter() + seconds

    def on_done(connection: Connection, latency_s: float, fault: str | None) -> None:
        if fault is None:
            tally.latencies_s.append(latency_s)
        else:
            tally.errors.append(fault)
        if fault is None and not tally.errors and time.perf_counter() < deadline_s:
            send_next(connection)
        else:
            rest()

    def send_next(connection: Connection) -> None:
        request = next(requests, None)
        if request is None:
            rest()
        else:
            connection.send(request)

    def rest() -> None:
        nonlocal busy
        busy -= 1
        if busy == 0 and not finished.done():
            finished.set_result(None)

    opened = [
        (await loop.create_connection(lambda: Connection(check, on_done), host, port))[1] for _ in range(connections)
    ]
    started_s = time.perf_counter()
    deadline_s = started_s + seconds
    for connection in opened:
        send_next(connection)
    await asyncio.wait_for(finished, seconds + DRAIN_S if seconds < math.inf else None)
    tally.elapsed_s = time.perf_counter() - started_s
    for connection in opened:
        connection.close()
    return tally


async def open_loop(
    host: str, port: int, requests: Iterator[bytes], check: Check, *, per_s: float, seconds: float
) -> Tally:
    """Send at a fixed rate on whichever connection is free, opening one where none is."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    idle: list[Connection] = []
    opened: list[Connection] = []
    total = round(per_s * seconds)
    finished: asyncio.Future[None] = loop.create_future()

    def on_done(connection: Connection, latency_s: float, fault: str | None) -> None:
        if fault is None:
            tally.latencies_s.append(latency_s)
            idle.append(connection)
        else:
            tally.errors.append(fault)
        if len(tally.latencies_s) + len(tally.errors) == total and not finished.done():
            finished.set_result(None)

    started_s = loop.time()
    for index in range(total):
        await asyncio.sleep(max(0.0, started_s + index / per_s - loop.time()))
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(lambda: Connection(check, on_done), host, port)
            opened.append(connection)
        connection.send(next(requests))
    await asyncio.wait_for(finished, DRAIN_S)
    tally.elapsed_s = loop.time() - started_s
    for connection in opened:
        connection.close()
    return tally
