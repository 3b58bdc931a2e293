from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.prompts import BLOCK_CHARACTERS, OWN_AGENT, document_block
from benchmarks.traffic import KINDS, TIERS, Mixture, tools_of
from router.server.openai_parse import parse_chat
from router.simulator.traffic import quantile_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["with the public data, where it is there", "without"])
def mixture(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mixture:
    if request.param == "without":
        monkeypatch.setenv("TOLLGATE_SHARED_DATA", str(tmp_path))
    return Mixture(seed=3, count=200)


def test_equal_seeds_send_equal_requests_in_whatever_order(mixture: Mixture) -> None:
    again = Mixture(seed=3, count=200)
    assert [again.planned(n) for n in (9, 3, 150)] == [mixture.planned(n) for n in (9, 3, 150)]
    assert Mixture(seed=4, count=200).planned(9) != mixture.planned(9)


def test_every_body_is_one_that_the_gateway_takes(mixture: Mixture) -> None:
    plans = [mixture.planned(number) for number in range(200)]
    for plan in plans:
        request = parse_chat({"model": "auto", **plan.body}, len(json.dumps(plan.body)))
        assert request.messages
    assert {plan.kind for plan in plans} == set(KINDS)
    assert {plan.tier for plan in plans} == set(TIERS)
    assert sum(plan.is_streamed for plan in plans) == 60
    assert {plan.tier for plan in plans if plan.is_streamed} == set(TIERS)
    assert [plan.at_ms for plan in plans] == sorted(plan.at_ms for plan in plans)
    assert any(plan.body.get("tools") for plan in plans)
    assert any("cache_control" in json.dumps(plan.body) for plan in plans)
    assert any(len(plan.body["messages"]) > 4 for plan in plans if plan.kind == "conversation")


def test_conversations_share_the_prefixes_that_the_trace_shares(mixture: Mixture) -> None:
    shared = [(at, each) for at, each in enumerate(mixture.arrivals) if each.shared_tokens >= 512]
    assert shared
    assert len(mixture.conversations) <= 102
    for at, arrival in shared:
        assert arrival.follows is not None
        blocks = arrival.shared_tokens // 512
        assert mixture.block_lists[at][:blocks] == mixture.block_lists[arrival.follows][:blocks]
    assert mixture.continues
    for at, follows in mixture.continues.items():
        earlier, later = mixture.planned(follows), mixture.planned(at)
        assert (earlier.tier, earlier.kind, later.kind) == (later.tier, "conversation", "conversation")
        assert earlier.body["messages"][0]["content"][0]["text"][:4_000] in json.dumps(later.body).replace("\\n", "\n")


def test_the_handbook_has_the_length_that_was_asked_for() -> None:
    assert document_block(1, 5) == document_block(1, 5) != document_block(1, 6)
    assert BLOCK_CHARACTERS <= len(document_block(1, 5)) < BLOCK_CHARACTERS + 200


def test_tools_are_those_that_were_called_with_their_arguments() -> None:
    tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools_of([OWN_AGENT])}
    assert set(tools) == {"find_order", "find_addresses", "place_order"}
    assert tools["place_order"]["properties"]["is_express"] == {"type": "boolean"}


def test_quantiles_are_those_of_the_trace() -> None:
    assert quantile_of(((0.0, 1.0), (0.5, 10.0), (1.0, 100.0)), 0.5) == pytest.approx(10)
