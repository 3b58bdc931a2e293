"""The fuzzer finds what no response may be, and its generated bodies are as odd as they claim."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, find, settings

from benchmarks.fuzz import Tally
from benchmarks.fuzz_checks import KEY_CANARY, PROMPT_CANARY, problems_of
from benchmarks.fuzz_requests import BASES, CHAT, METHODS, PATHS, RawRequest, raw_requests
from router.errors import RequestError
from router.server.body import parse_json_object
from router.server.openai_parse import parse_chat

if TYPE_CHECKING:
    from collections.abc import Callable

SEARCH = (Phase.generate,)
SHAPED = b'{"error":{"message":"m","type":"t","param":null,"code":"invalid_request"}}'


@pytest.mark.parametrize(
    ("status", "content_type", "body", "problem"),
    [
        (500, "application/json", SHAPED, "status 500"),
        (503, "application/json", SHAPED, "status 503"),
        (400, "text/plain", b"no", "content type 'text/plain'"),
        (400, "application/json", b"{", "not an error in OpenAI's shape"),
        (400, "application/json", b'{"detail":[]}', "not an error in OpenAI's shape"),
        (400, "application/json", b'{"error":{"message":"m","type":"t","code":"c"}}', "lacks ['param']"),
        (400, "application/json", SHAPED.replace(b'"invalid_request"', b"400"), "code 400 is no text"),
        (400, "application/json", SHAPED.replace(b"null", b"3"), "param is no text"),
        (400, "application/json", SHAPED.replace(b'"m"', b"null"), "message or type is no text"),
        (400, "application/json", SHAPED.replace(b'"m"', f'"{PROMPT_CANARY}"'.encode()), f"leaks {PROMPT_CANARY!r}"),
        (401, "application/json", SHAPED.replace(b'"m"', f'"{KEY_CANARY}"'.encode()), f"leaks {KEY_CANARY!r}"),
        (200, "text/event-stream", b"data: {}\n\n", "stream without an end"),
        (200, "text/event-stream", b"data: " + SHAPED + b"\n\n", "stream ended in invalid_request"),
    ],
)
def test_each_wrong_response_is_found(status: int, content_type: str, body: bytes, problem: str) -> None:
    assert problem in problems_of("POST", status, content_type, body)[0]


def test_right_responses_have_no_problem() -> None:
    assert problems_of("POST", 400, "application/json", SHAPED) == ([], "invalid_request")
    assert problems_of("HEAD", 404, "", b"") == ([], "no body")
    assert problems_of("GET", 200, "text/plain", b"anything") == ([], "ok")
    assert problems_of("POST", 200, "text/event-stream; charset=utf-8", b"data: {}\n\ndata: [DONE]\n\n") == ([], "ok")


def test_a_stream_of_which_the_beginning_was_read_needs_no_end() -> None:
    begun = b'data: {"choices":[]}\n\n'
    assert problems_of("POST", 200, "text/event-stream", begun, is_whole=False) == ([], "ok")
    assert problems_of("POST", 200, "text/event-stream", begun)[0] == ["stream without an end"]


def test_a_failure_is_kept_with_its_seed_and_its_request() -> None:
    tally = Tally("http://x", 7)
    tally.note("mutation", RawRequest("POST", CHAT, (("A", "b"),), b"{}"), 500, "application/json", SHAPED, ["more"])
    tally.note("mutation", RawRequest("POST", CHAT, (), b"{}"), 400, "application/json", SHAPED, [])
    (failure,) = tally.failures
    assert (failure["seed"], failure["number"], failure["body_base64"]) == (7, 1, "e30=")
    assert failure["problems"] == ["status 500", "more"]
    assert tally.statuses == Counter({"500": 1, "400": 1})


def test_the_bodies_that_mutations_start_from_are_sound() -> None:
    for base in BASES:
        raw = json.dumps(base).encode()
        assert parse_chat(parse_json_object(raw), len(raw)).messages


def _is_refused(request: RawRequest) -> bool:
    try:
        parse_chat(parse_json_object(request.body), len(request.body))
    except RequestError:
        return True
    return False


@pytest.mark.parametrize(
    "shown",
    [
        lambda request: request.path == CHAT and not _is_refused(request) and request.method == "POST",
        lambda request: request.path == CHAT and _is_refused(request),
        lambda request: b"NaN" in request.body,
        lambda request: b"\\ud800" in request.body,
        lambda request: b"[" * 5_000 in request.body,
        lambda request: request.path in PATHS and request.method == METHODS[1],
        lambda request: any(name == "X-Quality-Tolerance" for name, _ in request.headers),
    ],
    ids=["sound", "refused", "nan", "surrogate", "deep", "path", "header"],
)
def test_every_kind_of_oddity_is_drawn(shown: Callable[[RawRequest], bool]) -> None:
    found = find(raw_requests(), shown, settings=settings(max_examples=5_000, database=None, phases=SEARCH))
    assert shown(found)
