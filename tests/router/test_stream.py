from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from router.chat import Finish, RawFrames, StreamStart, TextDelta, ThinkingDelta, ToolCallDelta, UsageReport
from router.errors import ProviderError, ProviderTimeoutError
from router.token_priors import UNKNOWN
from router.tokens import TokenUsage
from router.warmth import beginnings_of
from tests.builders import request_of
from tests.router.scripted import (
    ANY,
    CHEAP,
    DEAR,
    NOBODY,
    USAGE,
    USAGE_COST,
    WHOLE,
    ScriptedStream,
    Stage,
    leap,
    policy_with,
    read_all,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from router.ledger import Settlement
    from router.stream import AnswerStream

START = StreamStart("msg_1", "x")
BROKEN = ProviderError("vendor broke off its stream", is_billed=True)


def settled(
    script: Sequence[Any], use: Callable[[AnswerStream], Awaitable[None]], *, grace_s: float = 1_000.0, **upstream: Any
) -> tuple[Settlement, ScriptedStream, Stage]:
    """Open a stream over the script, let the test use it, and wait for what runs on; the one settlement is returned."""
    stream = ScriptedStream(script)
    stage = Stage({CHEAP: [stream]}, policy=policy_with(**upstream))

    async def story() -> None:
        answer = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        await use(answer)
        await stage.background.aclose(grace_s)
        await stage.ledger.require_whole()

    leap(story())
    (settlement,) = stage.ledger.settlements()
    assert [each for each, _ in stage.seen.finished] == [settlement]
    return settlement, stream, stage


async def read(answer: AnswerStream) -> None:
    assert await read_all(answer) == [step for step in WHOLE if not isinstance(step, float)]
    assert answer.bill is not None


async def leave_at_once(answer: AnswerStream) -> None:
    await anext(answer)
    await answer.aclose()


def test_a_stream_that_ends_is_charged_what_it_reported() -> None:
    settlement, stream, stage = settled(WHOLE, read)
    assert (settlement.outcome, settlement.usage_source) == ("answered", "reported")
    assert settlement.tokens == USAGE.tokens
    assert settlement.cost_nanousd == USAGE_COST
    assert (settlement.finish_reason, settlement.vendor_id) == ("stop", "msg_1")
    assert settlement.premium_cost is not None
    assert stream.closes == 1
    assert stage.ledger.intents()[0].subject.is_streamed is False, "the surface says so, and this request did not"


def test_the_bill_is_the_ledgers_row() -> None:
    stage = Stage({CHEAP: [ScriptedStream()]})

    async def story() -> None:
        answer = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        assert answer.bill is None
        await read_all(answer)
        assert answer.bill is not None
        (row,) = await stage.rows()
        assert answer.bill.cost_nanousd == row.cost_nanousd
        assert answer.bill.premium_cost is not None
        assert answer.bill.premium_cost.point_nanousd == row.premium_point_nanousd
        assert answer.bill.savings_nanousd == row.premium_point_nanousd - row.cost_nanousd
        assert answer.bill.decision_id == row.decision_id == answer.decision.decision_id
        assert (answer.model, answer.dropped) == (CHEAP, ())

    leap(story())


@pytest.mark.parametrize(
    ("events", "visible", "thinking"),
    [
        ([TextDelta("x" * 4_000)], 4_000 * UNKNOWN.prose_milli, 0),
        ([TextDelta("\u4e2d" * 3_000)], 9_000 * UNKNOWN.non_latin_milli, 0),
        ([TextDelta("\ud800" * 4_000)], 4_000 * UNKNOWN.prose_milli, 0),
        ([ThinkingDelta("x" * 2_000), TextDelta("x" * 2_000)], *[2_000 * UNKNOWN.prose_milli] * 2),
        ([ThinkingDelta("\u4e2d" * 2_000)], 0, 6_000 * UNKNOWN.prose_milli),
        ([ToolCallDelta(0, "x" * 3_971, id="c", name="f")], 4_000 * UNKNOWN.code_milli, 0),
        ([RawFrames(b"data: {}\n\n", 4_000)], 4_000 * UNKNOWN.prose_milli, 0),
    ],
)
def test_without_usage_what_was_seen_is_charged_and_marked(events: list[Any], visible: int, thinking: int) -> None:
    async def use(answer: AnswerStream) -> None:
        await read_all(answer)
        assert answer.bill is not None
        assert answer.bill.usage_source == "estimated"

    settlement, _, _ = settled([START, *events, Finish("stop")], use)
    assert (settlement.outcome, settlement.usage_source) == ("answered", "estimated")
    assert settlement.tokens is not None
    assert (settlement.tokens.output_text, settlement.tokens.output_reasoning) == (visible // 1_000, thinking // 1_000)


async def read_to_the_break(answer: AnswerStream) -> None:
    with pytest.raises(ProviderError):
        await read_all(answer)
    await answer.aclose()


def output_of(settlement: Settlement) -> int:
    assert settlement.tokens is not None
    assert settlement.usage_source == "estimated"
    return settlement.tokens.output_tokens


def test_a_short_answer_that_ended_is_charged_as_short_and_one_that_broke_off_as_expected() -> None:
    async def use(answer: AnswerStream) -> None:
        await read_all(answer)

    whole, _, _ = settled([START, TextDelta("Hi"), Finish("stop")], use)
    assert output_of(whole) == 1
    broken, _, _ = settled([START, TextDelta("Hi"), BROKEN], read_to_the_break)
    assert output_of(broken) > 10, "two letters are no estimate of what the vendor had written"
    ended, _, _ = settled([START, TextDelta("Hi"), Finish("stop"), BROKEN], read_to_the_break)
    assert output_of(ended) == 1, "the answer was there, only its usage was not"


def test_a_stream_that_breaks_is_charged_the_input_that_its_vendor_counted() -> None:
    stream = ScriptedStream([START, TextDelta("Pa"), BROKEN], usage_so_far=TokenUsage(input_uncached=70, cache_read=30))
    stage = Stage({CHEAP: [stream]})

    async def story() -> None:
        await read_to_the_break(await stage.gateway.open_stream(request_of(), NOBODY, ANY))
        assert stage.gateway.caches.known(beginnings_of(request_of()), 0.0) == {}, "only what was reported is learned"

    leap(story())
    (settlement,) = stage.ledger.settlements()
    assert settlement.tokens is not None
    assert (settlement.tokens.input_uncached, settlement.tokens.cache_read) == (70, 30)
    assert output_of(settlement) > 10


def test_behind_an_event_that_cannot_be_read_the_usage_is_read_while_the_client_is_told() -> None:
    script = [START, TextDelta("Pa"), BROKEN, 5.0, TextDelta("is."), Finish("stop"), UsageReport(USAGE)]
    stream = ScriptedStream(script, is_legible=True)
    stage = Stage({CHEAP: [stream]})

    async def story() -> None:
        answer = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        with pytest.raises(ProviderError):
            await read_all(answer)
        assert asyncio.get_running_loop().time() == 1_000.0, "the client does not wait for what it will not get"
        await answer.aclose()
        assert stage.ledger.settlements() == []
        await stage.background.aclose(100.0)
        await stage.ledger.require_whole()

    leap(story())
    (settlement,) = stage.ledger.settlements()
    assert (settlement.outcome, settlement.error_code) == ("broken", "provider_error")
    assert (settlement.usage_source, settlement.cost_nanousd) == ("reported", USAGE_COST)
    assert settlement.finish_reason == "stop"
    assert stream.closes == 1


@pytest.mark.parametrize(
    ("behind", "output"),
    [
        ([BROKEN, BROKEN, UsageReport(USAGE)], None),
        ([TextDelta("x" * 400), BROKEN, TextDelta("x" * 400), Finish("stop")], 201),
        ([TextDelta("x" * 4_000)], 1_001),
        ([500.0, UsageReport(USAGE)], 48),
    ],
)
def test_what_follows_an_event_that_cannot_be_read_is_read_within_the_bounds(
    behind: list[Any], output: int | None
) -> None:
    stream = ScriptedStream([START, TextDelta("Pa"), BROKEN, *behind], is_legible=True)
    stage = Stage({CHEAP: [stream]}, policy=policy_with(drain_s=60.0, drain_bytes_max=1_000))

    async def story() -> None:
        await read_to_the_break(await stage.gateway.open_stream(request_of(), NOBODY, ANY))
        await stage.background.aclose(1_000.0)

    leap(story())
    (settlement,) = stage.ledger.settlements()
    assert settlement.outcome == "broken"
    assert stream.closes == 1
    if output is None:
        assert settlement.tokens == USAGE.tokens
    else:
        assert output_of(settlement) == output


def test_a_stream_that_breaks_is_charged_and_its_error_named() -> None:
    async def use(answer: AnswerStream) -> None:
        with pytest.raises(ProviderError):
            await read_all(answer)
        await answer.aclose()

    settlement, stream, _ = settled([START, TextDelta("Pa"), BROKEN], use)
    assert (settlement.outcome, settlement.error_code) == ("broken", "provider_error")
    assert settlement.usage_source == "estimated"
    assert stream.closes == 1


def test_a_stream_that_breaks_after_its_usage_is_charged_the_usage() -> None:
    async def use(answer: AnswerStream) -> None:
        with pytest.raises(ProviderError):
            await read_all(answer)

    settlement, _, _ = settled([START, UsageReport(USAGE), BROKEN], use)
    assert (settlement.outcome, settlement.cost_nanousd) == ("broken", USAGE_COST)
    assert settlement.usage_source == "reported"


def test_when_the_client_leaves_the_rest_is_read_to_its_usage() -> None:
    settlement, stream, _ = settled([START, TextDelta("Pa"), 5.0, *WHOLE[1:]], leave_at_once)
    assert (settlement.outcome, settlement.usage_source) == ("client_left", "reported")
    assert settlement.cost_nanousd == USAGE_COST
    assert stream.closes == 1


def test_a_drain_is_bounded_in_time() -> None:
    settlement, stream, _ = settled([START, TextDelta("Pa"), 500.0, *WHOLE[1:]], leave_at_once, drain_s=60.0)
    assert (settlement.outcome, settlement.usage_source) == ("client_left", "estimated")
    assert settlement.latency_ms == 60_000
    assert stream.closes == 1


def test_a_drain_that_is_kept_busy_is_bounded_in_time_too() -> None:
    busy = [step for _ in range(100) for step in (1.0, TextDelta("x"))]
    settlement, _, _ = settled([START, *busy, UsageReport(USAGE)], leave_at_once, drain_s=60.0)
    assert settlement.usage_source == "estimated"
    assert settlement.latency_ms == 60_000


def test_a_drain_is_bounded_in_bytes_from_where_the_client_left() -> None:
    async def use(answer: AnswerStream) -> None:
        for _ in range(6):
            await anext(answer)
        await answer.aclose()

    flood = [TextDelta("\u4e2d" * 100) for _ in range(20)]
    settlement, stream, _ = settled([START, *flood, UsageReport(USAGE)], use, drain_bytes_max=1_000)
    assert settlement.usage_source == "estimated"
    assert stream.at == 6 + 4, "three hundred bytes an event: the fourth is past the bound"
    assert settlement.tokens is not None
    assert settlement.tokens.output_tokens == (5 + 4) * 300 * UNKNOWN.non_latin_milli // 1_000


@pytest.mark.parametrize("failure", [BROKEN, ProviderTimeoutError("silent", is_billed=True)])
def test_a_drain_that_breaks_charges_what_is_known(failure: ProviderError) -> None:
    settlement, stream, _ = settled([START, TextDelta("Pa"), UsageReport(USAGE), failure], leave_at_once)
    assert (settlement.outcome, settlement.cost_nanousd) == ("client_left", USAGE_COST)
    assert stream.closes == 1


def test_leaving_twice_reads_and_charges_once() -> None:
    async def use(answer: AnswerStream) -> None:
        await anext(answer)
        await answer.aclose()
        await asyncio.sleep(1.0)
        await answer.aclose()

    settlement, stream, _ = settled([START, 5.0, *WHOLE[1:]], use)
    assert (settlement.usage_source, settlement.cost_nanousd) == ("reported", USAGE_COST)
    assert stream.closes == 1


def test_closing_after_the_end_does_nothing() -> None:
    async def use(answer: AnswerStream) -> None:
        await read_all(answer)
        await answer.aclose()
        await answer.aclose()

    settlement, stream, _ = settled(WHOLE, use)
    assert settlement.outcome == "answered"
    assert stream.closes == 1


def test_a_reader_that_is_cancelled_in_the_middle_leaves_a_whole_ledger() -> None:
    async def use(answer: AnswerStream) -> None:
        task = asyncio.ensure_future(read_all(answer))
        await asyncio.sleep(2.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await answer.aclose()

    settlement, _, _ = settled([START, TextDelta("Pa"), 5.0, *WHOLE[1:]], use)
    assert (settlement.outcome, settlement.cost_nanousd) == ("client_left", USAGE_COST)


@pytest.mark.parametrize("grace_s", [0.0, 3.0])
def test_a_shutdown_settles_what_it_cuts_off(grace_s: float) -> None:
    settlement, stream, _ = settled([START, 50.0, *WHOLE[1:]], leave_at_once, grace_s=grace_s)
    assert (settlement.outcome, settlement.usage_source) == ("client_left", "estimated")
    assert settlement.latency_ms == round(grace_s * 1000)
    assert stream.closes == 1


def test_a_shutdown_without_streams_waits_for_nothing() -> None:
    stage = Stage({})

    async def story() -> float:
        begun_s = asyncio.get_running_loop().time()
        await stage.background.aclose(60.0)
        return asyncio.get_running_loop().time() - begun_s

    assert leap(story()) == 0


def test_the_fallback_of_a_stream_carries_the_failed_attempts_cost_to_its_bill() -> None:
    stage = Stage({CHEAP: [ProviderError("odd", is_billed=True)], DEAR: [ScriptedStream()]})

    async def story() -> None:
        answer = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        await read_all(answer)
        assert answer.bill is not None
        first, second = stage.ledger.settlements()
        assert answer.bill.cost_nanousd == first.cost_nanousd + second.cost_nanousd
        assert answer.bill.attempts == 2
        await stage.ledger.require_whole()

    leap(story())


def test_what_has_arrived_is_known_from_the_vendors_stream() -> None:
    class Ready(ScriptedStream):
        has_ready = True

    for stream, is_ready in ((ScriptedStream(), False), (Ready(), True)):
        stage = Stage({CHEAP: [stream]})

        async def story(stage: Stage = stage) -> bool:
            answer = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
            ready = answer.has_ready
            await read_all(answer)
            return ready

        assert leap(story()) is is_ready
