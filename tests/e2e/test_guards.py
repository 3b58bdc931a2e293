"""Guards over real wires: a program that loops is stopped, whatever session it claims, and work beside it goes on."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import OpenAI

from benchmarks.stack import bill_of
from router.money import parse_usd

if TYPE_CHECKING:
    from benchmarks.stack import GatewayProcess
    from router.simulator import SimulatorProcess

# About 30,000 tokens: 0.12 USD of premium's input.
PAGE = "The committee considered the minutes of the meeting, and asked the clerk to circulate them. " * 1_600
TIER = {"X-Quality-Tier": "premium"}
# Past the limit the loop first gets cheaper answers, until those have cost too much as well.
TURNS = 40
START = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)


def client_of(gateway: GatewayProcess, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=retries)


def ask(client: OpenAI, text: str, *, stream: bool = False, **headers: str) -> Any:
    found: Any = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": text}],
        stream=stream,
        max_tokens=100,
        extra_headers={**TIER, **headers},
    )
    if stream:
        for _ in found.parse():
            pass
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_with_the_time_in_its_prompt_is_stopped_whatever_session_it_claims(
    gateway: GatewayProcess, simulator: SimulatorProcess, stream: bool
) -> None:
    refused: list[openai.APIStatusError] = []
    with client_of(gateway) as client:
        for turn in range(TURNS):
            now = (START + timedelta(seconds=turn)).isoformat()
            try:
                answer = ask(client, f"{PAGE}\nThe time is {now}.", stream=stream, **{"X-Session-Id": f"run-{turn}"})
            except openai.APIStatusError as error:
                refused.append(error)
            else:
                assert answer.headers["x-router-lineage"]
        assert [each.code for each in refused] == ["rate_limited", *["loop_detected"] * (len(refused) - 1)]
        assert len(refused) >= 5
        for each in refused:
            assert each.response.headers["x-router-decision-id"]
            assert PAGE[:40] not in each.message
        other = ask(client, "What is the capital of France?", stream=stream)
        assert other.status_code == 200
    billed = sum(parse_usd(line["cost_usd"]) for line in bill_of(simulator))
    assert billed < parse_usd("1.5")
    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=30) as found:
        metrics = found.read().decode()
    assert 'tollgate_guard_trips_total{action="stop",guard="near_repeat"} 1.0' in metrics


def test_an_sdk_does_not_retry_a_stop(gateway: GatewayProcess) -> None:
    with client_of(gateway) as client:
        slow_down(client)
    with client_of(gateway, retries=5) as client, pytest.raises(openai.UnprocessableEntityError) as caught:
        ask(client, PAGE)
    body: Any = caught.value.body
    assert (body["code"], body["guard"]) == ("loop_detected", "exact_repeat")
    decisions = gateway.read("/v1/decisions?limit=50")["data"]
    assert sum(each["error_code"] == "loop_detected" for each in decisions) == 1
    (trip, *_) = [json.loads(line) for line in gateway.log.read_text().splitlines() if '"event":"guard"' in line]
    assert "committee" not in json.dumps(trip)


def test_a_batch_that_says_so_may_repeat(gateway: GatewayProcess) -> None:
    with client_of(gateway) as client:
        for _ in range(12):
            assert ask(client, PAGE, **{"X-Router-Tags": "batch=true"}).status_code == 200


def slow_down(client: OpenAI) -> None:
    with contextlib.suppress(openai.RateLimitError):
        for _ in range(TURNS):
            ask(client, PAGE)
        pytest.fail("nothing slowed it down")
