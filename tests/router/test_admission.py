from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from router.catalog import hold_nanousd
from router.chat import Message, Text
from router.errors import LedgerUnavailableError, ProviderError
from router.estimate import Seen
from router.token_priors import hold_tokens_of
from router.tokens import TokenUsage, Usage
from tests.builders import request_of
from tests.router.scripted import ANY, CHEAP, DEAR, NOBODY, PREMIUM, USAGE, Stage, leap, policy_with, reply_of

if TYPE_CHECKING:
    from router.admission import Hold


async def held(stage: Stage, request: Any = None, model: str = CHEAP) -> Hold:
    job = stage.gateway._job(request or request_of(), NOBODY, ANY)
    return await stage.gateway.admission.hold(job.account, job.request, job.decision, model, job.policy)


def test_the_intent_is_in_the_ledger_before_the_vendor_hears_of_the_attempt() -> None:
    stage = Stage({})
    seen: list[int] = []

    async def look(call: Any) -> Any:
        seen.append(len(stage.ledger.intents()))
        return reply_of()

    stage.script[CHEAP] = [look]
    leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    assert seen == [1]


def test_the_hold_is_the_worst_case_of_what_is_asked() -> None:
    stage = Stage({})
    request = request_of(output_tokens_max=77)
    hold = leap(held(stage, request))
    ceiling = hold_tokens_of(CHEAP, body_bytes=request.body_bytes, messages=1, images=0)
    prices = stage.policy.models[CHEAP].prices
    assert hold.intent.hold_nanousd == hold_nanousd(prices, ceiling, 77, may_write_cache=False)
    assert hold.intent.lease_expires_ms - hold.intent.time_ms == 900_000
    assert not hold.is_settled


def test_a_request_that_asks_for_caching_holds_at_the_price_of_a_cache_write() -> None:
    marked = request_of(messages=(Message("user", (Text("long", cache="1h"),)),))
    stage = Stage({})
    prices = stage.policy.models[CHEAP].prices
    ceiling = hold_tokens_of(CHEAP, body_bytes=marked.body_bytes, messages=1, images=0)
    hold = leap(held(stage, marked))
    assert hold.intent.hold_nanousd == hold_nanousd(prices, ceiling, 4_096, may_write_cache=True)


def test_a_hold_is_settled_once_whatever_is_called_after() -> None:
    stage = Stage({})

    async def story() -> None:
        hold = await held(stage)
        hold.settle(USAGE, "answered", finish_reason="stop")
        hold.settle(None, "broken", error=ProviderError("odd"))
        hold.fail(ProviderError("odd", is_billed=True), is_billed=True)
        hold.abandon()
        await stage.ledger.require_whole()
        assert hold.bill().cost_nanousd == stage.ledger.settlements()[0].cost_nanousd

    leap(story())
    (settlement,) = stage.ledger.settlements()
    assert (settlement.outcome, settlement.tokens) == ("answered", USAGE.tokens)
    assert len(stage.seen.attempts) == len(stage.seen.finished) == 1


def test_an_explicit_zero_is_charged_as_zero_and_silence_is_not() -> None:
    stage = Stage({})

    async def story() -> None:
        (await held(stage)).settle(Usage(TokenUsage()), "answered", seen=Seen(is_whole=True))
        (await held(stage)).settle(None, "answered")

    leap(story())
    zero, silent = stage.ledger.settlements()
    assert (zero.cost_nanousd, zero.usage_source) == (0, "reported")
    assert silent.usage_source == "estimated"
    assert silent.cost_nanousd > 0


def test_latencies_are_measured_from_the_requests_arrival_and_the_first_byte_once() -> None:
    stage = Stage({})

    async def story() -> None:
        hold = await held(stage)
        await asyncio.sleep(0.25)
        hold.mark_first_byte()
        await asyncio.sleep(1.0)
        hold.mark_first_byte()
        hold.settle(USAGE, "answered")

    leap(story())
    (settlement,) = stage.ledger.settlements()
    assert (settlement.first_byte_ms, settlement.latency_ms) == (250, 1_250)


def test_a_second_attempt_that_finds_no_ledger_is_no_refused_request() -> None:
    stage = Stage({})

    async def away() -> None:
        raise LedgerUnavailableError("the ledger cannot be written: database is locked")

    async def story() -> None:
        job = stage.gateway._job(request_of(), NOBODY, ANY)
        first = await stage.gateway.admission.hold(job.account, job.request, job.decision, CHEAP, job.policy)
        first.fail(ProviderError("odd"), is_billed=False)
        stage.ledger.before_append = away
        with pytest.raises(LedgerUnavailableError):
            await stage.gateway.admission.hold(job.account, job.request, job.decision, DEAR, job.policy)
        assert stage.seen.rejected == []
        job.account.finish(stage.seen)
        job.account.finish(stage.seen)
        assert len(stage.seen.finished) == 1

    leap(story())


def test_a_request_without_any_attempt_has_no_end_to_tell() -> None:
    stage = Stage({})

    async def story() -> None:
        stage.gateway._job(request_of(), NOBODY, PREMIUM).account.finish(stage.seen)

    leap(story())
    assert stage.seen.finished == []


def test_a_lease_closes_what_nobody_settled_at_the_hold() -> None:
    stage = Stage({}, policy=policy_with())

    async def story() -> None:
        hold = await held(stage)
        lease_ms = hold.intent.lease_expires_ms
        assert await stage.ledger.close_expired(lease_ms - 1) == 0
        assert await stage.ledger.close_expired(lease_ms) == 1
        (row,) = await stage.rows()
        assert (row.outcome, row.cost_nanousd) == ("expired", hold.intent.hold_nanousd)
        hold.settle(USAGE, "answered")
        (row,) = await stage.rows()
        assert (row.outcome, row.cost_nanousd) == ("answered", stage.ledger.settlements()[-1].cost_nanousd)

    leap(story())
