"""Clients as users have them: the real `openai` SDK, each request's answer reduced to what it was told of its cost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import openai
from openai import OpenAI

from router.money import parse_usd

if TYPE_CHECKING:
    from benchmarks.traffic import Mixture, Planned

TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Told:
    """What one client learned: its bill where it had an answer, else the error's code."""

    number: int
    tier: str
    kind: str
    is_streamed: bool
    decision_id: str | None
    cost_nanousd: int | None
    error: str | None


def ask(client: OpenAI, plan: Planned) -> Told:
    """Send one request and read its answer to the end."""
    headers = {"X-Quality-Tier": plan.tier, "X-Router-Tags": f"kind={plan.kind}"}
    decision_id: str | None = None
    try:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", stream=plan.is_streamed, extra_headers=headers, **plan.body
        )
        decision_id = raw.headers.get("x-router-decision-id")
        answer: Any = raw.parse()
        if not plan.is_streamed:
            return _told(plan, decision_id, raw.headers["x-router-cost-usd"])
        last = None
        for chunk in answer:
            last = chunk
        if last is None or last.usage is None:
            return _told(plan, decision_id, None, "no_last_chunk")
        told = last.usage.model_extra
        return _told(plan, told["decision_id"], told["cost_usd"])
    except openai.APIStatusError as error:
        return _told(plan, error.response.headers.get("x-router-decision-id"), None, str(error.code))
    except httpx.HTTPError as error:  # the SDK lets a cut stream through as it is
        return _told(plan, decision_id, None, type(error).__name__)
    except openai.APIError as error:  # within a stream, after its headers; or no answer at all
        return _told(plan, decision_id, None, str(error.code or type(error).__name__))


def _told(plan: Planned, decision_id: str | None, cost_usd: str | None, error: str | None = None) -> Told:
    cost = None if cost_usd is None else parse_usd(cost_usd)
    return Told(plan.number, plan.tier, plan.kind, plan.is_streamed, decision_id, cost, error)


def send_all(url: str, mixture: Mixture, *, concurrency: int, pace: float) -> list[Told]:
    """Send the whole mixture, ``pace`` times as fast as it arrived, never more than ``concurrency`` at once."""
    started_s = time.monotonic()
    with (
        OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=TIMEOUT_S) as client,
        ThreadPoolExecutor(concurrency) as pool,
    ):

        def one(number: int) -> Told:
            plan = mixture.planned(number)
            time.sleep(max(0.0, started_s + plan.at_ms / 1000 / pace - time.monotonic()))
            return ask(client, plan)

        assert mixture.arrivals, "an empty mixture"
        return list(pool.map(one, range(mixture.count)))
