"""An input that is too long, over real wires: what the vendors bill is what was left of it."""

from __future__ import annotations

import random
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from openai import BadRequestError, OpenAI

from benchmarks.leak_agents import prose
from benchmarks.stack import GatewayProcess, bill_of
from tests.e2e.conftest import policy_text

if TYPE_CHECKING:
    from pathlib import Path

    from router.simulator import SimulatorProcess

BOUND = "guards: {context: {input_tokens_max: 1500, when_exceeded: trim}}\n"
MODELS = ("claude-haiku", "gemini-flash", "llama-70b")
DOCUMENTS = [f"<document>{prose(random.Random(number), 90)}</document>" for number in range(30)]
QUESTION = "Which of these mentions a lighthouse?"


def content_of(number: int, *, as_parts: bool) -> Any:
    texts = ["Read this:", *DOCUMENTS[number:], *DOCUMENTS[:number], QUESTION]
    return [{"type": "text", "text": text} for text in texts] if as_parts else "\n".join(texts)


def test_every_vendor_is_sent_and_bills_what_was_left(tmp_path: Path, simulator: SimulatorProcess) -> None:
    gateway = GatewayProcess(tmp_path / "home", policy_text(simulator) + BOUND)
    gateway.start()
    try:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
        for number, model in enumerate(MODELS):
            for as_parts in (False, True):
                messages: Any = [{"role": "user", "content": content_of(number * 2 + as_parts, as_parts=as_parts)}]
                raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, max_tokens=50)
                assert "of 30 chunks cut" in raw.headers["x-router-context"]
                usage = raw.parse().usage
                assert usage is not None
                assert 700 < usage.prompt_tokens < 2_200, "30 documents are about 4,000 tokens"
        with urllib.request.urlopen(f"{gateway.url}/metrics") as answer:
            metrics = answer.read().decode()
        with pytest.raises(BadRequestError) as caught:
            client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "word " * 5_000}])
        client.close()
    finally:
        gateway.stop()
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == "context_length_exceeded"
    assert "after 0 of 0 retrieved chunks were taken out" in caught.value.message
    for model in MODELS:
        assert f'tollgate_trimmed_tokens_total{{model="{model}"}}' in metrics
    assert len(bill_of(simulator)) == 2 * len(MODELS)
