from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import orjson
import pytest

from router.simulator import FAULTS, Behaviour, Simulator
from router.simulator.faults import parse_fault
from tests.router.simulator.conftest import FLASH, HAIKU, LLAMA, Wires

SAY = [{"role": "user", "content": "Say something about harbours."}]
CLAUDE = {"model": HAIKU, "max_tokens": 2000, "messages": SAY}


def chat(text: str) -> dict[str, Any]:
    return {"model": LLAMA, "messages": [{"role": "user", "content": text}]}


async def test_the_same_seed_and_content_give_the_same_answer_in_any_order() -> None:
    async def answers(order: list[str]) -> dict[str, list[str]]:
        made: dict[str, list[str]] = {}
        async with Simulator(seed=3) as sim, aiohttp.ClientSession() as http:
            wires = Wires(sim, http)

            async def one(text: str) -> None:
                _, answer = await wires.openai(chat(text))
                made.setdefault(text, []).append(orjson.dumps([answer["choices"], answer["usage"]]).decode())

            await asyncio.gather(*(one(text) for text in order))
        return {text: sorted(found) for text, found in made.items()}

    texts = [f"question {i % 6}" for i in range(18)]
    forwards = await answers(texts)
    assert forwards == await answers(texts[::-1])
    assert all(len(set(found)) == 3 for found in forwards.values()), "a repeated prompt is answered anew"


async def test_another_seed_gives_another_answer() -> None:
    found = set()
    for seed in (1, 2):
        async with Simulator(seed=seed) as sim, aiohttp.ClientSession() as http:
            found.add((await Wires(sim, http).openai(chat("hello")))[1]["choices"][0]["message"]["content"])
    assert len(found) == 2


async def test_sums_are_right_and_the_bill_can_be_cleared(wires: Wires) -> None:
    assert (await wires.openai(chat("What is 12 * 12?")))[1]["choices"][0]["message"]["content"] == "12 * 12 = 144."
    summary = orjson.loads((await wires.admin("GET", "openai", "summary"))[1])
    assert summary["billed"] == 1
    assert Decimal(summary["cost_usd"]) == sum(Decimal(line["cost_usd"]) for line in await wires.bill("openai"))
    assert (await wires.admin("DELETE", "openai", "bill"))[0] == 204
    assert await wires.bill("openai") == []


@pytest.mark.parametrize(
    ("fault", "anthropic", "others"), [("429", 429, 429), ("500", 500, 500), ("529", 529, 503), ("html", 502, 502)]
)
async def test_rejections_are_not_billed(wires: Wires, fault: str, anthropic: int, others: int) -> None:
    for vendor in ("anthropic", "gemini", "openai"):
        assert (await wires.admin("POST", vendor, "faults", {"fault": fault}))[0] == 201
    contents = {"contents": [{"parts": [{"text": "x"}]}]}
    assert (await wires.anthropic(CLAUDE))[0] == anthropic
    assert (await wires.gemini(FLASH, contents))[0] == others
    assert (await wires.openai(chat("x")))[0] == others
    for vendor in ("anthropic", "gemini", "openai"):
        assert await wires.bill(vendor) == []
        assert orjson.loads((await wires.admin("GET", vendor, "summary"))[1])["unbilled"] == {fault: 1}


async def test_too_many_requests_say_when_to_come_back(wires: Wires) -> None:
    await wires.admin("POST", "openai", "faults", {"fault": "429", "retry_after_s": 2})
    url = wires.sim.openai_url + "/chat/completions"
    async with wires.http.post(url, json=chat("x"), headers=wires.headers["openai"]) as answer:
        assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_torn_answer_is_billed_in_full(wires: Wires, is_stream: bool) -> None:
    await wires.admin("POST", "anthropic", "faults", {"fault": "torn_stream"})
    with pytest.raises(aiohttp.ClientError):
        await wires.anthropic(CLAUDE | {"stream": is_stream})
    (line,) = await wires.bill("anthropic")
    assert line["fault"] == "torn_stream"
    assert Decimal(line["cost_usd"]) > 0


async def test_a_connection_that_breaks_at_once_is_not_billed(wires: Wires) -> None:
    await wires.admin("POST", "openai", "faults", {"fault": "timeout_connect"})
    with pytest.raises(aiohttp.ClientError):
        await wires.openai(chat("x"))
    assert await wires.bill("openai") == []


@pytest.mark.parametrize("fault", ["timeout_first_byte", "stall_mid_stream"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_who_gives_up_waiting_is_billed_all_the_same(wires: Wires, fault: str, is_stream: bool) -> None:
    await wires.admin("POST", "openai", "faults", {"fault": fault})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await wires.openai(chat("x") | {"stream": is_stream})
    await asyncio.sleep(0.05)
    (line,) = await wires.bill("openai")
    assert line["disconnected"] is True


async def test_a_client_that_leaves_a_slow_stream_is_billed_in_full() -> None:
    behaviour = Behaviour(event_gap_ms=20, stream_events=50, answer_tokens=200)
    async with Simulator(behaviour=behaviour) as sim, aiohttp.ClientSession() as http:
        wires = Wires(sim, http)
        url, headers = sim.anthropic_url + "/v1/messages", wires.headers["anthropic"]
        async with http.post(url, json=CLAUDE | {"stream": True}, headers=headers) as answer:
            await answer.content.readany()
            answer.close()
        await asyncio.sleep(0.15)
        (line,) = await wires.bill("anthropic")
    assert line["disconnected"] is True
    assert line["usage"]["output_tokens"] >= 195


@pytest.mark.parametrize("is_stream", [False, True])
async def test_broken_json_missing_usage_and_odd_endings(wires: Wires, is_stream: bool) -> None:
    async def raw(fault: str) -> bytes:
        await wires.admin("DELETE", "openai", "faults")
        await wires.admin("POST", "openai", "faults", {"fault": fault})
        url = wires.sim.openai_url + "/chat/completions"
        options = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
        async with wires.http.post(url, json=chat("x") | options, headers=wires.headers["openai"]) as answer:
            assert answer.status == 200
            return await answer.read()

    broken = await raw("malformed_json")
    parts = [part[6:] for part in broken.split(b"\n\n") if part and b"[DONE]" not in part] if is_stream else [broken]
    with pytest.raises(orjson.JSONDecodeError):
        [orjson.loads(part) for part in parts]
    assert b'"usage"' not in await raw("usage_missing")
    assert b'"length"' in await raw("truncation")
    assert b"I can't help" in (await raw("refusal")).replace(b'"}', b"") or is_stream
    assert b'"stop"' in await raw("empty")
    assert len(await wires.bill("openai")) == 5


async def test_refusals_in_each_vendors_words(wires: Wires) -> None:
    for vendor in ("anthropic", "gemini"):
        await wires.admin("POST", vendor, "faults", {"fault": "refusal"})
    _, answer = await wires.anthropic(CLAUDE)
    assert (answer["stop_reason"], answer["content"]) == ("refusal", [])
    _, answer = await wires.gemini(FLASH, {"contents": [{"parts": [{"text": "x"}]}]})
    assert answer["candidates"][0]["finishReason"] == "SAFETY"


async def test_rate_models_and_limit_are_kept_and_repeatable(wires: Wires) -> None:
    async def failed() -> list[int]:
        await wires.admin("DELETE", "openai", "faults")
        await wires.admin("POST", "openai", "faults", {"fault": "500", "rate": 0.3, "seed": 4})
        return [index for index in range(60) if (await wires.openai(chat(f"q{index}")))[0] == 500]

    first = await failed()
    assert 8 <= len(first) <= 28
    async with Simulator(seed=7) as again, aiohttp.ClientSession() as http:
        wires = Wires(again, http)
        assert await failed() == first
        await wires.admin("DELETE", "openai", "faults")
        await wires.admin("POST", "openai", "faults", {"fault": "500", "models": ["other"]})
        assert (await wires.openai(chat("x")))[0] == 200
        await wires.admin("POST", "openai", "faults", {"fault": "529", "limit": 1})
        assert [(await wires.openai(chat("x")))[0] for _ in range(2)] == [503, 200]
        shown = orjson.loads((await wires.admin("GET", "openai", "faults"))[1])
        assert [rule["fired"] for rule in shown] == [0, 1]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"fault": "no"},
        {"fault": "500", "rate": 2},
        {"fault": "500", "rate": "x"},
        {"fault": "500", "x": 1},
        {"fault": "500", "models": "m"},
        {"fault": "500", "limit": 1.5},
    ],
)
async def test_a_wrong_fault_is_refused_with_its_field(wires: Wires, body: Any) -> None:
    status, raw = await wires.admin("POST", "openai", "faults", body)
    assert status == 400
    assert orjson.loads(raw)["error"]


def test_every_fault_can_be_asked_for() -> None:
    assert {parse_fault({"fault": name}).fault for name in FAULTS} == set(FAULTS)


async def test_fixed_lengths_for_benchmarks() -> None:
    behaviour = Behaviour(stream_events=20, answer_tokens=100)
    async with Simulator(behaviour=behaviour) as sim, aiohttp.ClientSession() as http:
        wires = Wires(sim, http)
        _, raw = await wires.openai(chat("x") | {"stream": True})
        assert raw.count(b'"content":"') == 21  # twenty and the opening one
        assert 97 <= (await wires.openai(chat("x")))[1]["usage"]["completion_tokens"] <= 100


async def test_waits_scale_with_speed() -> None:
    async with Simulator(speed=0.02) as sim, aiohttp.ClientSession() as http:
        started = asyncio.get_running_loop().time()
        assert (await Wires(sim, http).openai(chat("x")))[0] == 200
        assert asyncio.get_running_loop().time() - started > 0.004


async def test_lengths_are_like_the_counted_traffic_and_grow_with_the_tokenizer(wires: Wires) -> None:
    llama, claude = [], []
    for index in range(120):
        text = f"Tell me about topic {index} please"
        llama.append((await wires.openai(chat(text)))[1]["usage"]["completion_tokens"])
        body = {"model": HAIKU, "max_tokens": 8000, "messages": [{"role": "user", "content": text}]}
        claude.append((await wires.anthropic(body))[1]["usage"]["output_tokens"])
    assert 240 <= sorted(llama)[60] <= 460
    assert 1.3 <= sum(claude) / sum(llama) <= 1.9, "1.28 tokens for 1, and a quarter more to say"


async def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    async with Simulator() as sim:
        port = int(sim.gemini_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address already in use"):
            await Simulator(ports=(0, port, 0)).__aenter__()
