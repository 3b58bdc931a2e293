"""The load generator reads every byte, however it was cut, and says what is wrong with an answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import ResponseReader, closed_loop, dechunked, open_loop
from benchmarks.processes import BenchmarkError
from benchmarks.vendor import STREAM_HEAD, Desk, VendorProtocol, chunk, response
from benchmarks.workloads import (
    QUESTIONS,
    STEP,
    WORKLOADS,
    Workload,
    check_of,
    plain_fault,
    question_of,
    requests_of,
    stream_fault,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PLAIN, STREAM, _, CLAUDE = WORKLOADS
CHUNKED = STREAM_HEAD + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def fault_of(reads: list[bytes]) -> str | None:
    reader = ResponseReader()
    for index, read in enumerate(reads):
        assert reader.feed(read) == (index == len(reads) - 1)
    return reader.fault(lambda body: body.decode())


@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=8))
def test_a_response_is_whole_however_it_was_cut(places: list[int]) -> None:
    edges = sorted({0, *places, len(CHUNKED)})
    reads = [CHUNKED[start:end] for start, end in pairwise(edges)]

    assert fault_of(reads) == "data: 1\n\ndata: [DONE]\n\n"


def test_a_reader_is_ready_for_the_next_response() -> None:
    reader = ResponseReader()
    assert reader.feed(response(b'{"a": 1}'))
    assert reader.fault(lambda _: None) is None
    assert not reader.feed(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n")
    assert reader.feed(b"\r\n{}")
    assert reader.fault(lambda _: None) == "status 503: b'{}'"


def test_a_response_without_an_end_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="neither a length nor chunks"):
        ResponseReader().feed(b"HTTP/1.1 200 OK\r\n\r\n")


def test_chunk_extensions_are_no_content() -> None:
    assert dechunked(b"3;name=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") == b"abcde"


@contextlib.asynccontextmanager
async def vendor() -> AsyncIterator[tuple[Desk, int]]:
    desk = Desk()
    server = await asyncio.get_running_loop().create_server(lambda: VendorProtocol(desk), "127.0.0.1", 0)
    async with server:
        yield desk, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("workload", [PLAIN, STREAM])
@pytest.mark.parametrize("gap_ms", [0, 1])
async def test_every_answer_of_the_mock_vendor_is_counted_once(workload: Workload, gap_ms: int) -> None:
    requests = requests_of(workload, "m", "/v1/chat/completions", {"authorization": "Bearer x"})
    async with vendor() as (desk, port):
        desk.gap_ms = gap_ms
        tally = await closed_loop("127.0.0.1", port, requests, check_of(workload), connections=3, seconds=0.05)

    assert tally.errors == []
    assert len(tally.latencies_s) >= 3
    assert desk.counts == {b"/v1/chat/completions": len(tally.latencies_s), b"/v1/messages": 0}


@pytest.mark.parametrize("count", [0, 2, 7])
async def test_requests_that_end_are_all_sent_and_end_the_load(count: int) -> None:
    requests = itertools.islice(requests_of(PLAIN, "m", "/v1/chat/completions", {}), count)
    async with vendor() as (desk, port):
        tally = await closed_loop("127.0.0.1", port, requests, plain_fault, connections=3, seconds=math.inf)

    assert tally.errors == []
    assert len(tally.latencies_s) == desk.counts[b"/v1/chat/completions"] == count


async def test_an_open_loop_sends_what_it_was_asked_to_send() -> None:
    requests = requests_of(PLAIN, "m", "/v1/chat/completions", {})
    async with vendor() as (desk, port):
        desk.wait_ms = 20  # answers overlap, so that more than one connection is needed
        tally = await open_loop("127.0.0.1", port, requests, plain_fault, per_s=200, seconds=0.1)

    assert tally.errors == []
    assert len(tally.latencies_s) == 20
    assert desk.counts[b"/v1/chat/completions"] == 20


async def test_a_wrong_answer_ends_the_load_at_once() -> None:
    requests = requests_of(PLAIN, "m", "/v1/nowhere", {})
    async with vendor() as (_, port):
        tally = await closed_loop("127.0.0.1", port, requests, plain_fault, connections=2, seconds=30)

    assert tally.latencies_s == []
    assert len(tally.errors) == 2
    assert "404" in tally.errors[0]


async def test_a_server_that_hangs_up_is_an_error() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        requests = itertools.repeat(b"GET / HTTP/1.1\r\n\r\n")
        tally = await closed_loop("127.0.0.1", port, requests, plain_fault, connections=1, seconds=30)

    assert len(tally.errors) == 1
    assert "broke before the response was whole" in tally.errors[0]


def test_answers_of_another_shape_are_named() -> None:
    assert "no chat completion" in str(plain_fault(b"<html>"))
    assert "another content" in str(plain_fault(b'{"choices": [{"message": {"content": "x"}}], "usage": {}}'))
    assert "no end mark" in str(stream_fault(b"data: {}\n\n"))
    assert "another content" in str(stream_fault(b'data: {"choices": []}\n\ndata: [DONE]\n\n'))


def test_an_answer_without_its_usage_is_named() -> None:
    from benchmarks.vendor import STREAMS, openai_plain

    body = openai_plain().partition(b"\r\n\r\n")[2]
    assert plain_fault(body) is None
    assert plain_fault(body.replace(b'"usage"', b'"spent"')) == "no usage"
    frames = dechunked(b"".join(STREAMS[b"/v1/chat/completions"]))
    assert stream_fault(frames) is None
    assert stream_fault(frames.replace(b'"usage"', b'"spent"')) == "no usage"
    assert stream_fault(frames.replace(b'"completion_tokens":180', b'"completion_tokens":1')) == "usage (210, 1)"


def test_every_request_asks_something_else_and_is_equally_long() -> None:
    asked = [question_of(number) for number in range(20_000)]

    assert len(set(asked)) == len(asked) < QUESTIONS
    assert {len(each) for each in asked} == {len(asked[0])}
    for workload in WORKLOADS:
        found = list(itertools.islice(requests_of(workload, "m", "/x", {}), 50))
        bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in found]
        assert len({each["messages"][1]["content"] for each in bodies}) == 50
        assert all(b"content-length: %d\r\n" % len(each.partition(b"\r\n\r\n")[2]) in each for each in found)


def test_the_numbers_of_questions_come_round_only_when_all_were_asked() -> None:
    assert math.gcd(STEP, QUESTIONS) == 1
