"""What no sound client sends: each gets its code, and leaves ledger and process sound."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.invoice import billed_nanousd
from benchmarks.stack import GatewayProcess, bill_of
from router.simulator import SimulatorProcess
from tests.e2e.conftest import CONTRACTS, policy_text
from tests.e2e.raw import HELLO, ask, books_of, connected, head_of, require_sound, until, until_settled

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY_TIMEOUT_S = 1.5
USER = {"role": "user", "content": "x"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture(scope="module")
def slow_simulator() -> Iterator[SimulatorProcess]:
    """Vendors whose streams take a second and a half."""
    options: dict[str, Any] = {"stream_events": 30, "event_gap_ms": 50}
    with SimulatorProcess(seed=7, speed=1, prices_override=CONTRACTS, **options) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, slow_simulator: SimulatorProcess) -> Iterator[GatewayProcess]:
    policy = policy_text(slow_simulator).replace("limits: {", f"limits: {{body_timeout_s: {BODY_TIMEOUT_S}, ")
    process = GatewayProcess(tmp_path_factory.mktemp("bad-input") / "home", policy)
    process.start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def gateway(running: GatewayProcess) -> Iterator[GatewayProcess]:
    """The same process for every bad input: each must leave it sound for the next."""
    yield running
    require_sound(running)


def chat(**changes: Any) -> dict[str, Any]:
    return {**HELLO, **changes}


NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "broken": b'{"model": "auto", "messages": [',
    "not an object": b"[1, 2]",
    "NaN": b'{"model": "auto", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "infinity": b'{"model": "auto", "messages": [{"role": "user", "content": "x"}], "temperature": -Infinity}',
    "a key twice": b'{"model": "auto", "model": "claude-opus", "messages": [{"role": "user", "content": "x"}]}',
    "a key twice, deep": b'{"model": "auto", "messages": [{"role": "user", "role": "system", "content": "x"}]}',
    "half a surrogate pair": b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud83d"}]}',
    "half a pair as bytes": b'{"model": "auto", "messages": [{"role": "user", "content": "\xed\xa0\xbd"}]}',
    "no UTF-8": b'{"model": "auto", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(HELLO).encode(),
    "deep": b'{"model": "auto", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "very deep": b'{"model": "auto", "x": ' + b"[" * 2_000_000 + b"]" * 2_000_000 + b"}",
}


def test_what_is_no_sound_json_is_400(gateway: GatewayProcess) -> None:
    for name, body in NO_JSON.items():
        answer = ask(gateway, body)
        assert (answer.status, answer.error["code"]) == (400, "invalid_request"), name
        assert answer.headers["x-should-retry"] == "false", name


WRONG: list[tuple[dict[str, Any], str]] = [
    (chat(messages="hi"), "messages"),
    (chat(messages=[]), "messages"),
    (chat(messages={"role": "user"}), "messages"),
    (chat(messages=["hi"]), "messages[0]"),
    (chat(messages=[{"role": "wizard", "content": "x"}]), "messages[0].role"),
    (chat(messages=[{"role": 7, "content": "x"}]), "messages[0].role"),
    (chat(messages=[{"role": "user", "content": 7}]), "messages[0].content"),
    (chat(messages=[USER, {"role": "tool", "tool_call_id": "c9", "content": "4"}]), "messages[1].tool_call_id"),
    (
        chat(messages=[USER, {"role": "tool", "tool_call_id": "c1", "content": "4"}, {**USER, "tool_calls": [CALL]}]),
        "messages[1].tool_call_id",
    ),
    (chat(model=7), "model"),
    (chat(model=""), "model"),
    (chat(temperature="warm"), "temperature"),
    (chat(temperature=True), "temperature"),
    (chat(stream="yes"), "stream"),
    (chat(n=5), "n"),
    (chat(n=0), "n"),
    (chat(max_tokens=0), "max_tokens"),
    (chat(max_tokens=-1), "max_tokens"),
    (chat(max_tokens=1.5), "max_tokens"),
    (chat(max_tokens=10**400), "max_tokens"),
    (chat(tools=[{"type": "function"}]), "tools[0].function"),
]


def test_what_is_of_the_wrong_kind_is_400_by_its_place(gateway: GatewayProcess) -> None:
    for body, param in WRONG:
        answer = ask(gateway, body)
        assert (answer.status, answer.error["code"]) == (400, "invalid_request"), (param, answer.body)
        if body.get("max_tokens") != 10**400:  # no JSON number of 64 bits: the parser itself refuses it
            assert answer.error["param"] == param


def test_unknown_tiers_tolerances_and_models_have_codes_of_their_own(gateway: GatewayProcess) -> None:
    for value in ("7", "-0.1", "abc", "", "nan", "1e999", "0,5", "5%"):
        answer = ask(gateway, x_quality_tolerance=value)
        assert (answer.status, answer.error["code"]) == (400, "invalid_quality_tolerance"), value
    for value in ("best", "Premium ", "\u00e9".encode().decode("latin-1")):
        answer = ask(gateway, x_quality_tier=value)
        assert answer.error["code"] in ("unknown_quality_tier", "invalid_request"), value
        assert answer.status == 400
    answer = ask(gateway, chat(metadata={"quality_tolerance": 7}))
    assert (answer.status, answer.error["code"]) == (400, "invalid_quality_tolerance")
    answer = ask(gateway, chat(model="gpt-9"))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert answer.headers["x-should-retry"] == "false"


def test_every_refusal_is_a_ledger_entry_without_a_word_of_its_content(gateway: GatewayProcess) -> None:
    secret = "the-merger-is-on-friday"
    before, _ = books_of(gateway)
    answers = [
        ask(gateway, chat(messages=[{"role": secret, "content": secret}])),
        ask(gateway, chat(model=secret)),
        ask(gateway, x_quality_tier=secret),
        ask(gateway, f'{{"{secret}": '.encode()),
    ]
    rows, _ = until_settled(gateway, len(before) + len(answers))
    new = {row.decision_id: row for row in rows} | {row.decision_id: None for row in before}
    for answer in answers:
        assert secret.encode() not in answer.body
        row = new[answer.headers["x-router-decision-id"]]
        assert row is not None
        assert (row.outcome, row.error_code, row.cost_nanousd) == ("rejected", answer.error["code"], 0)
    assert secret.encode() not in (gateway.home / "ledger.sqlite").read_bytes()
    assert secret.encode() not in (gateway.home / "ledger.sqlite-wal").read_bytes()
    last = answers[-1].headers["x-router-decision-id"]
    until(lambda: last in gateway.log.read_text(encoding="utf-8"), "the last refusal's line")
    assert secret not in gateway.log.read_text(encoding="utf-8")


def test_an_output_limit_above_the_models_is_clamped_where_the_policy_drops_it_and_named(
    gateway: GatewayProcess,
) -> None:
    answer = ask(gateway, chat(model="llama-70b", max_tokens=1_000_000))
    assert answer.status == 200, answer.body
    assert answer.headers["x-router-dropped"] == "output_limit"


def test_bodies_and_images_are_bounded_and_so_is_memory(gateway: GatewayProcess) -> None:
    picture = base64.b64encode(b"\x89PNG" + bytes(30_000_000)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    large = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture[:29_000_000]}"}}
    remembered: list[float] = []
    for _ in range(4):
        over = ask(gateway, chat(messages=[{"role": "user", "content": [image]}]))
        assert (over.status, over.error["code"]) == (413, "request_too_large")
        assert over.headers["x-should-retry"] == "false"
        refused = ask(gateway, chat(messages=[{"role": "user", "content": [large]}]))
        assert (refused.status, refused.error["param"]) == (400, "messages[0].content[0].image_url.url")
        long = ask(gateway, chat(messages=[{"role": "user", "content": "word " * 6_000_000}]))
        assert (long.status, long.error["code"]) == (400, "context_length_exceeded")
        remembered.append(gateway.rss_mib())
    assert remembered[-1] < remembered[0] + 100, remembered
    assert remembered[-1] < 700, remembered


def test_a_body_that_lies_about_its_length_is_refused_at_its_head(gateway: GatewayProcess) -> None:
    with connected(gateway) as client:
        client.sendall(head_of(40_000_000))
        assert client.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_byte_by_byte_is_timed_out(gateway: GatewayProcess) -> None:
    body = json.dumps(HELLO).encode()
    with connected(gateway) as client:
        client.sendall(head_of(len(body)))
        client.settimeout(0.4)
        answer = b""
        sent = 0
        while not answer:
            assert sent < len(body), "the whole body was taken, one byte at a time"
            client.sendall(body[sent : sent + 1])
            sent += 1
            with contextlib.suppress(TimeoutError):
                answer = client.recv(65_536)
        client.settimeout(30)
        while more := client.recv(65_536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer
    assert b"connection: close" in answer.lower()


def test_many_that_send_nothing_hold_up_nobody(gateway: GatewayProcess) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(gateway)) for _ in range(100)]
        for client in idle:
            client.sendall(head_of(100)[:-20])
        for _ in range(5):
            assert ask(gateway).status == 200


def test_a_client_that_leaves_before_its_body_is_whole_leaves_no_trace(gateway: GatewayProcess) -> None:
    before, _ = books_of(gateway)
    with connected(gateway) as client:
        client.sendall(head_of(1_000) + b'{"model"')
    assert ask(gateway).status == 200
    rows, _ = until_settled(gateway, len(before) + 1)
    assert len(rows) == len(before) + 1


def test_a_client_that_leaves_before_a_plain_answer_is_still_charged_what_the_vendor_bills(
    gateway: GatewayProcess, slow_simulator: SimulatorProcess
) -> None:
    before, _ = books_of(gateway)
    body = json.dumps(chat(model="claude-haiku", max_tokens=200)).encode()
    with connected(gateway) as client:
        client.sendall(head_of(len(body)) + body)
        until(lambda: len(books_of(gateway)[0]) > len(before), "the intent of the one who leaves")
    rows, attempts = until_settled(gateway, len(before) + 1)
    (row,) = [row for row in rows if row.decision_id not in {each.decision_id for each in before}]
    assert row.outcome in ("answered", "client_left")
    _require_equal_to_bill(row.decision_id, row.cost_nanousd, slow_simulator)
    assert len(attempts) >= 1


@pytest.mark.parametrize("model", ["claude-haiku", "gemini-flash", "llama-70b"])
def test_a_client_that_leaves_a_stream_is_charged_what_the_vendor_bills(
    gateway: GatewayProcess, slow_simulator: SimulatorProcess, model: str
) -> None:
    before, _ = books_of(gateway)
    body = json.dumps(chat(model=model, max_tokens=200, stream=True)).encode()
    with connected(gateway) as client:
        client.sendall(head_of(len(body)) + body)
        begun = b""
        while b"data: " not in begun:
            begun += client.recv(65_536)
        assert begun.startswith(b"HTTP/1.1 200 ")
        assert b"[DONE]" not in begun
    rows, _ = until_settled(gateway, len(before) + 1)
    (row,) = [row for row in rows if row.decision_id not in {each.decision_id for each in before}]
    assert (row.outcome, row.usage_source, row.model) == ("client_left", "reported", model)
    _require_equal_to_bill(row.decision_id, row.cost_nanousd, slow_simulator)


def _require_equal_to_bill(decision_id: str, cost_nanousd: int, simulator: SimulatorProcess) -> None:
    mine = [line for line in bill_of(simulator) if str(line["client_request_id"]).startswith(decision_id)]
    assert sum(billed_nanousd(line) for line in mine) == cost_nanousd > 0
