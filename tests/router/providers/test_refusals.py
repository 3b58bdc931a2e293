from __future__ import annotations

from email.utils import formatdate
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.providers.refusals import event_error, parse_retry_after_s, status_error

SECRET = "the prompt says 4711 and sk-live-abcdef"


def openai_error(**error: Any) -> bytes:
    return orjson.dumps({"error": {"message": SECRET, **error}})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRejectedError),
        (401, ProviderError),
        (402, ProviderError),
        (403, ProviderError),
        (404, ProviderError),
        (408, ProviderUnavailableError),
        (413, ProviderRejectedError),
        (422, ProviderRejectedError),
        (429, ProviderUnavailableError),
        (500, ProviderUnavailableError),
        (502, ProviderUnavailableError),
        (503, ProviderUnavailableError),
        (504, ProviderTimeoutError),
        (529, ProviderUnavailableError),
        (302, ProviderError),
    ],
)
def test_the_status_says_what_kind_of_error(status: int, kind: type[ProviderError]) -> None:
    error = status_error("vendor", status, openai_error(type="some_error"), {})
    assert type(error) is kind
    assert error.status == status
    assert error.is_billed == (status == 504), "only there the model may have worked"
    assert error.message == f"vendor answered {status} (some_error)"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>4711</html>", "no error object"),
        (b"", "no error object"),
        (b'{"error": "4711"}', "no error object"),
        (openai_error(), "unnamed error"),
        (openai_error(type="a b"), "unnamed error"),
        (openai_error(type="x" * 65), "unnamed error"),
        (openai_error(type="invalid_request_error", code="context_length_exceeded"), "context_length_exceeded"),
        (openai_error(type="t", param="messages[3].content"), "t at messages.3.content"),
        (
            openai_error(type="t", param="tools[0].function.parameters.properties.salary"),
            "t at tools.0.function.parameters",
        ),
        (openai_error(type="t", param=SECRET), "t"),
        (
            b'{"type":"error","error":{"type":"e","message":"messages.1.content.0.text: 4711"}}',
            "e at messages.1.content.0.text",
        ),
        (b'{"type":"error","error":{"type":"e","message":"Your text 4711"}}', "e"),
        (b'[{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "4711"}}]', "INVALID_ARGUMENT"),
        (
            orjson.dumps(
                {
                    "error": {
                        "status": "INVALID_ARGUMENT",
                        "details": [{"fieldViolations": [{"field": "contents[0].parts[1]", "description": SECRET}]}],
                    }
                }
            ),
            "INVALID_ARGUMENT at contents.0.parts.1",
        ),
    ],
)
def test_the_message_names_error_and_place_and_quotes_nothing(body: bytes, said: str) -> None:
    message = status_error("vendor", 400, body, {}).message
    assert message == f"vendor answered 400 ({said})"


@given(st.recursive(st.text(max_size=30), lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=4)))
def test_no_message_is_ever_echoed(noise: Any) -> None:
    body = orjson.dumps({"error": {"message": f"{SECRET} {noise}", "type": "t", "details": [noise], "param": noise}})
    error = status_error("vendor", 400, body, {})
    assert "4711" not in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access"}}'),
        (400, b'{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass"}}'),
        (400, b'{"error": {"status": "FAILED_PRECONDITION", "message": "User location is not supported for the API"}}'),
        (429, b'{"error": {"code": "insufficient_quota", "type": "insufficient_quota", "message": "quota"}}'),
    ],
)
def test_what_speaks_of_our_account_is_no_fault_of_the_request_and_not_retried(status: int, body: bytes) -> None:
    error = status_error("vendor", status, body, {})
    assert type(error) is ProviderError
    assert not error.is_retryable


def test_retry_after_in_seconds_and_as_a_date() -> None:
    now_s = 1_800_000_000.0
    assert parse_retry_after_s("3") == 3.0
    assert parse_retry_after_s("0.5") == 0.5
    assert parse_retry_after_s(formatdate(now_s + 20, usegmt=True), now_s) == 20.0
    assert parse_retry_after_s(formatdate(now_s - 20, usegmt=True), now_s) == 0.0
    assert parse_retry_after_s("999999999") == 3_600.0
    assert parse_retry_after_s("-5") == 0.0


@pytest.mark.parametrize("text", [None, "", "soon", "nan", "Tue, 99 Foo 2026"])
def test_retry_after_that_says_nothing(text: str | None) -> None:
    assert parse_retry_after_s(text) is None


def test_a_throttled_answer_says_when_to_come_back() -> None:
    error = status_error("vendor", 429, openai_error(type="rate_limit_error"), {"Retry-After": "7"})
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        ({"type": "overloaded_error"}, ProviderUnavailableError, 529),
        ({"type": "rate_limit_error"}, ProviderUnavailableError, 429),
        ({"type": "invalid_request_error"}, ProviderRejectedError, 400),
        ({"type": "authentication_error"}, ProviderError, 401),
        ({"code": 503, "status": "UNAVAILABLE"}, ProviderUnavailableError, 503),
        ({"code": 7, "type": "odd"}, ProviderUnavailableError, 500),
        ({}, ProviderUnavailableError, 500),
    ],
)
@pytest.mark.parametrize("is_started", [False, True])
def test_an_error_inside_a_stream(event: dict[str, Any], kind: type, status: int, is_started: bool) -> None:
    error = event_error("vendor", event, is_started=is_started)
    assert type(error) is kind
    assert error.status == status
    assert error.is_billed is is_started
