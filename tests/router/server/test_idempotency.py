"""The same key and body: the same answer, charged once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from router.chat import TextDelta
from router.errors import IdempotencyConflictError, ProviderError
from router.server import Idempotency, create_app
from router.server.idempotency import ANSWER_BYTES_MAX, HELD_S, OVERHEAD_BYTES
from router.stores.memory import MemoryLedger
from tests.router.server.fakes import HELLO, KEYS, Sent, parts_of, send_to

BODY = b'{"messages":[{"role":"user","content":"Hi"}]}'
STREAM = b'{"messages":[{"role":"user","content":"Hi"}],"stream":true}'
KEY = {"idempotency-key": "order-1"}


@dataclass
class StoppedClock:
    time_s: float = 0.0

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self.time_s * 1000)

    def monotonic_s(self) -> float:
        return self.time_s


def code_of(sent: Sent) -> str:
    return str(json.loads(sent.body)["error"]["code"])


@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_a_repeated_request_gets_the_same_bytes_and_headers(body: bytes) -> None:
    parts = parts_of()
    app = create_app(parts)
    first = await send_to(app, body=body, headers=KEY)
    second = await send_to(app, body=body, headers=KEY)
    assert first.status == 200
    assert (first.status, first.headers, first.body) == (second.status, second.headers, second.body)
    assert len(parts.gateway.requests) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_concurrent_duplicates_wait_for_the_first(body: bytes) -> None:
    parts = parts_of()
    gateway: Any = parts.gateway
    gateway.pause_s = 0.02
    app = create_app(parts)
    answers = await asyncio.gather(*(send_to(app, body=body, headers=KEY) for _ in range(5)))
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["x-router-decision-id"] for answer in answers}) == 1
    assert len(gateway.requests) == 1


async def test_another_body_is_a_conflict_while_the_first_runs_and_after() -> None:
    parts = parts_of()
    gateway: Any = parts.gateway
    gateway.pause_s = 0.02
    app = create_app(parts)
    first = asyncio.ensure_future(send_to(app, body=BODY, headers=KEY))
    await asyncio.sleep(0.01)
    for _ in range(2):
        sent = await send_to(app, body=BODY + b" ", headers=KEY)
        assert (sent.status, code_of(sent)) == (409, "idempotency_conflict")
        assert sent.headers["x-should-retry"] == "false"
        assert "x-router-decision-id" in sent.headers
        await first
    assert [error.code for error in gateway.rejections] == ["idempotency_conflict"] * 2


async def test_keys_belong_to_their_caller() -> None:
    parts = parts_of(keys=KEYS)
    app = create_app(parts)
    for key in ("key-search", "key-legal"):
        assert (await send_to(app, body=BODY, headers={**KEY, "x-api-key": key})).status == 200
    assert len(parts.gateway.requests) == 2  # type: ignore[attr-defined]


async def test_a_failed_try_may_be_made_again_and_one_of_the_waiting_makes_it() -> None:
    parts = parts_of()
    gateway: Any = parts.gateway
    gateway.pause_s = 0.02
    gateway.failure = ProviderError("broke")
    app = create_app(parts)
    tries = [asyncio.ensure_future(send_to(app, body=BODY, headers=KEY)) for _ in range(3)]
    await tries[0]
    gateway.failure = None
    answers = await asyncio.gather(*tries)
    assert [answer.status for answer in answers] == [502, 200, 200]
    assert answers[1].body == answers[2].body
    assert len(gateway.requests) == 2


async def test_a_client_that_left_its_stream_gets_the_whole_answer_when_it_comes_back() -> None:
    parts = parts_of()
    app = create_app(parts)
    messages = [{"type": "http.request", "body": STREAM}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    headers = [(b"idempotency-key", b"order-1")]
    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST", "headers": headers}
    await app(scope, receive, send)
    again = await send_to(app, body=STREAM, headers=KEY)
    assert again.body.endswith(b"data: [DONE]\n\n")
    assert len(parts.gateway.requests) == 1  # type: ignore[attr-defined]


async def test_an_answer_that_is_held_no_longer_is_a_conflict_that_names_it() -> None:
    ledger = MemoryLedger()
    before = parts_of(ledger=ledger)
    first = await send_to(create_app(before), body=BODY, headers=KEY)
    sent = await send_to(create_app(parts_of(ledger=ledger)), body=BODY, headers=KEY)
    assert sent.status == 409
    assert first.headers["x-router-decision-id"] in json.loads(sent.body)["error"]["message"]
    assert sent.headers["x-should-retry"] == "false"


async def test_an_answer_too_large_to_hold_is_sent_whole_and_not_held() -> None:
    parts = parts_of()
    gateway: Any = parts.gateway
    gateway.script = (HELLO[0], *([TextDelta("x" * 500_000)] * (ANSWER_BYTES_MAX // 500_000 + 1)), *HELLO[3:])
    app = create_app(parts)
    first = await send_to(app, body=STREAM, headers=KEY)
    assert len(first.body) > ANSWER_BYTES_MAX
    assert (await send_to(app, body=STREAM, headers=KEY)).status == 409


async def answered(idempotency: Idempotency, key: str, size: int = 10) -> bool:
    """Whether the answer had to be made (True) or was held (False)."""

    async def answer(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * size})

    async def send(message: Any) -> None:
        pass

    return await idempotency.require_answer((None, key), b"{}", answer, send) is None


async def test_answers_are_forgotten_after_a_day() -> None:
    clock = StoppedClock()
    idempotency = Idempotency(MemoryLedger(), clock)
    assert await answered(idempotency, "a")
    clock.time_s = HELD_S
    assert not await answered(idempotency, "a")
    clock.time_s += 1
    assert await answered(idempotency, "a")


async def test_the_oldest_answers_go_when_there_are_too_many_or_too_large() -> None:
    counted = Idempotency(MemoryLedger(), StoppedClock(), held_max=2)
    assert [await answered(counted, key) for key in ("a", "b", "c", "b", "a")] == [True, True, True, False, True]
    sized = Idempotency(MemoryLedger(), StoppedClock(), bytes_max=2 * (OVERHEAD_BYTES + 10))
    assert [await answered(sized, key) for key in ("a", "b", "c", "b", "a")] == [True, True, True, False, True]


async def test_what_the_answer_raises_reaches_the_caller_and_frees_the_key() -> None:
    idempotency = Idempotency(MemoryLedger(), StoppedClock())

    async def broken(send: Any) -> None:
        raise IdempotencyConflictError("broken")

    for _ in range(2):
        with pytest.raises(IdempotencyConflictError, match="broken"):
            await idempotency.require_answer((None, "a"), b"{}", broken, broken)


async def test_the_key_itself_is_in_no_ledger_line() -> None:
    parts = parts_of()
    await send_to(create_app(parts), body=BODY, headers={"idempotency-key": "customer-4711"})
    terms = parts.gateway.requests[0][2]  # type: ignore[attr-defined]
    assert terms.idempotency_key is not None
    assert "4711" not in terms.idempotency_key
    found = await parts.ledger.request("dec_0000000000000000")
    assert found is not None
    assert "4711" not in repr(found)
