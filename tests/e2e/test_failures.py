"""Vendors that fail: the right code for the client, a fallback where it may be, and a ledger that explains the bill."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.invoice import verdict_of
from benchmarks.stack import GatewayProcess, bill_of, faults_fired, order_faults, vendor_addresses
from router.money import parse_usd
from router.simulator import SimulatorProcess
from tests.e2e.conftest import CONTRACTS, policy_text
from tests.e2e.raw import HELLO, Answer, ask, books_of, require_sound, until_settled

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("claude-haiku", "gemini-flash", "llama-70b")


@pytest.fixture(scope="module")
def vendors() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7, speed=0, prices_override=CONTRACTS) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, vendors: SimulatorProcess) -> Iterator[GatewayProcess]:
    policy = policy_text(vendors).replace("first_byte_timeout_s: 5", "first_byte_timeout_s: 3, connect_timeout_s: 3")
    # One question, failing again and again, is what guards slow down.
    policy += "guards: {loop: {enabled: false}}\n"
    process = GatewayProcess(tmp_path_factory.mktemp("failures") / "home", policy)
    process.start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def gateway(running: GatewayProcess, vendors: SimulatorProcess) -> Iterator[GatewayProcess]:
    """The same process for every failure; afterwards its ledger explains each attempt beside the vendors' bill."""
    yield running
    for base in vendor_addresses(vendors):
        urllib.request.urlopen(urllib.request.Request(f"{base}/_simulator/faults", method="DELETE")).close()
    require_sound(running)
    _, attempts = until_settled(running, 1)
    verdict = verdict_of(attempts, bill_of(vendors))
    assert verdict.unexplained == [], verdict.shown()


def chat(**changes: Any) -> dict[str, Any]:
    return {**HELLO, "max_tokens": 60, **changes}


def row_of(gateway: GatewayProcess, answer: Answer) -> Any:
    rows, _ = until_settled(gateway, 1)
    (row,) = [row for row in rows if row.decision_id == answer.headers["x-router-decision-id"]]
    return row


def frames_of(answer: Answer) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


PLAIN = [
    # fault, status, code, attempts, whether it cost something
    ({"fault": "429", "retry_after_s": 0.1}, 503, "provider_unavailable", 3, False),
    ({"fault": "500"}, 503, "provider_unavailable", 3, False),
    ({"fault": "529"}, 503, "provider_unavailable", 3, False),
    ({"fault": "html"}, 503, "provider_unavailable", 3, False),
    ({"fault": "timeout_connect"}, 503, "provider_unavailable", 3, True),
    ({"fault": "timeout_first_byte"}, 504, "provider_timeout", 1, True),
    ({"fault": "malformed_json"}, 502, "provider_error", 1, True),
    ({"fault": "torn_stream"}, 502, "provider_error", 1, True),
]


@pytest.mark.parametrize(("rule", "status", "code", "attempts", "costs"), PLAIN, ids=lambda each: str(each)[:30])
def test_a_pinned_models_failure_has_its_code_and_its_cost_is_written_down(
    gateway: GatewayProcess,
    vendors: SimulatorProcess,
    rule: dict[str, object],
    status: int,
    code: str,
    attempts: int,
    costs: bool,
) -> None:
    order_faults(vendors, [rule])
    for model in MODELS:
        answer = ask(gateway, chat(model=model))
        assert (answer.status, answer.error["code"]) == (status, code), (model, answer.body)
        assert "x-should-retry" not in answer.headers, "an SDK may try again"
        row = row_of(gateway, answer)
        assert (row.outcome, row.error_code, row.attempts) == ("failed", code, attempts), model
        assert (row.cost_nanousd > 0) is costs, model
        assert b"<h1>" not in answer.body


def test_retry_after_is_handed_on(gateway: GatewayProcess, vendors: SimulatorProcess) -> None:
    order_faults(vendors, [{"fault": "429", "retry_after_s": 600}])
    answer = ask(gateway, chat(model="llama-70b"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "600")
    assert row_of(gateway, answer).attempts == 1, "ten minutes are past the deadline"


def test_a_busy_vendor_is_asked_again(gateway: GatewayProcess, vendors: SimulatorProcess) -> None:
    order_faults(vendors, [{"fault": "429", "limit": 1, "retry_after_s": 0.1}])
    for model in MODELS:
        answer = ask(gateway, chat(model=model))
        assert answer.status == 200, answer.body
        assert row_of(gateway, answer).attempts == 2
    assert faults_fired(vendors)["429"] == 3


def test_html_with_a_good_status_is_an_error_that_may_have_been_billed(tmp_path: Any, simulator: Any) -> None:
    gateway = GatewayProcess(tmp_path / "home", policy_text(simulator))
    gateway.start()
    try:
        order_faults(simulator, [{"fault": "html", "status": 200}])
        for is_streamed in (False, True):
            answer = ask(gateway, chat(model="claude-haiku", stream=is_streamed))
            assert (answer.status, answer.error["code"]) == (502, "provider_error")
            assert b"html" not in answer.body.lower()
        rows, attempts = until_settled(gateway, 2)
    finally:
        gateway.stop()
    assert len(attempts) == 2, "it is not asked again: it may have billed"
    assert {(row.outcome, row.usage_source) for row in rows} == {("failed", "estimated")}
    assert all(row.cost_nanousd > 0 for row in rows)


# A stream whose JSON is malformed has begun on some wires: it breaks, see below.
BEFORE_THE_FIRST_BYTE = [
    (fault, is_streamed)
    for fault in ("429", "500", "529", "timeout_first_byte", "malformed_json", "html")
    for is_streamed in (False, True)
    if (fault, is_streamed) != ("malformed_json", True)
]


@pytest.mark.parametrize(("fault", "is_streamed"), BEFORE_THE_FIRST_BYTE)
def test_another_model_that_keeps_the_tolerance_answers_instead(
    gateway: GatewayProcess, vendors: SimulatorProcess, fault: str, is_streamed: bool
) -> None:
    first = ask(gateway, chat(), x_quality_tier="economy").headers["x-router-model"]
    name = {"claude-haiku": "claude-haiku-5-5", "gemini-flash": "gemini-3.8-flash"}.get(
        first, "meta-llama/Llama-3.3-70B-Instruct-Turbo"
    )
    order_faults(vendors, [{"fault": fault, "models": [name], "retry_after_s": 5}])
    answer = ask(gateway, chat(stream=is_streamed), x_quality_tier="economy")
    assert answer.status == 200, answer.body
    assert answer.headers["x-router-model"] != first
    assert faults_fired(vendors)[fault] >= 1
    row = row_of(gateway, answer)
    assert (row.outcome, row.model) == ("answered", answer.headers["x-router-model"])
    assert row.attempts >= 2
    told = frames_of(answer)[-2]["usage"]["cost_usd"] if is_streamed else answer.headers["x-router-cost-usd"]
    assert parse_usd(told) == row.cost_nanousd, "the failed attempts are in what the client is told"


@pytest.mark.parametrize(
    ("fault", "code"),
    [("torn_stream", "provider_error"), ("stall_mid_stream", "provider_timeout"), ("malformed_json", "provider_error")],
)
def test_a_stream_that_breaks_says_so_and_is_charged(
    gateway: GatewayProcess, vendors: SimulatorProcess, fault: str, code: str
) -> None:
    for model in MODELS:
        order_faults(vendors, [{"fault": fault}])
        answer = ask(gateway, chat(model=model, stream=True))
        row = row_of(gateway, answer)
        assert row.cost_nanousd > 0
        if answer.status != 200:  # it broke before its first event
            assert (answer.error["code"], row.outcome) == (code, "failed")
            continue
        frames = frames_of(answer)
        assert frames[-1] != "[DONE]"
        assert frames[-1]["error"]["code"] == code, model
        assert (row.outcome, row.error_code) == ("broken", code)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_missing_usage_is_estimated_marked_and_told_alike(
    gateway: GatewayProcess, vendors: SimulatorProcess, is_streamed: bool
) -> None:
    order_faults(vendors, [{"fault": "usage_missing"}])
    for model in MODELS:
        answer = ask(gateway, chat(model=model, stream=is_streamed))
        assert answer.status == 200, answer.body
        row = row_of(gateway, answer)
        assert (row.outcome, row.usage_source) == ("answered", "estimated")
        told = frames_of(answer)[-2]["usage"]["cost_usd"] if is_streamed else answer.headers["x-router-cost-usd"]
        assert parse_usd(told) == row.cost_nanousd > 0


def test_a_deployment_that_keeps_failing_rests(tmp_path: Any, simulator: SimulatorProcess) -> None:
    text = policy_text(simulator).replace(
        "cooldown_failures: 1000", "cooldown_failures: 2, cooldown_s: 3, retries_max: 0"
    )
    gateway = GatewayProcess(tmp_path / "home", text)
    gateway.start()
    try:
        order_faults(simulator, [{"fault": "500", "limit": 2}])
        for _ in range(2):
            assert ask(gateway, chat(model="claude-opus")).error["code"] == "provider_unavailable"
        resting = ask(gateway, chat(model="claude-opus"))
        assert (resting.status, resting.error["code"]) == (503, "provider_unavailable")
        assert 1 <= int(resting.headers["retry-after"]) <= 3
        row = row_of(gateway, resting)
        assert (row.outcome, row.attempts, row.cost_nanousd) == ("rejected", 0, 0)
        answers: list[int] = []
        while 200 not in answers:
            answers.append(ask(gateway, chat(model="claude-opus")).status)
            assert len(answers) < 10_000
        assert sum(row.attempts for row in books_of(gateway)[0]) == 3, "while it rests it is not asked"
        require_sound(gateway)
    finally:
        gateway.stop()
