"""Guards in the request path: what they refuse is written down, and each request's end is told them once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from router.budgets import Budget
from router.chat import Finish, RawFrames, StreamStart, Text, TextDelta, ToolCall, ToolCallDelta, UsageReport
from router.errors import BudgetExhaustedError, LoopDetectedError, ProviderError, RateLimitedError, RouterError
from router.guarding import AWAY_S, share
from router.ledger import GuardTrip, TripQuery
from router.policy import Caller, Guards, Terms
from router.receipt import choice_of_receipt
from router.server.openai_render import bill_headers, decision_headers
from router.transcript import BYTES_MAX, Transcript
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import (
    ANY,
    CHEAP,
    DEAR,
    NOBODY,
    PREMIUM,
    USAGE,
    ScriptedStream,
    Stage,
    after,
    leap,
    read_all,
    reply_of,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from router.policy import Policy

TEAM = Caller(key_id="k1", team="search")
SOME = Terms(session_id="run-1")


def dear_policy(dear_usd: str = "10000", cheap_usd: str = "0.1", **changes: Any) -> Policy:
    """A call of the dear model is expected to cost 40 tokens of its output: 0.40 USD."""
    return policy_of(
        model_of(CHEAP, input_usd="0.1", output_usd=cheap_usd, tier="economy"),
        model_of(DEAR, input_usd="0.1", output_usd=dear_usd, tier="premium"),
        premium=DEAR,
        **changes,
    )


class Told:
    """What the keeper was told of requests' ends."""

    def __init__(self, stage: Stage) -> None:
        self.ends: list[tuple[str, int, tuple[Any, ...]]] = []
        real = stage.keeper.observe

        def observe(mark: Any, *, now_ms: int, outcome: str, cost_nanousd: int, parts: Any = ()) -> None:
            self.ends.append((outcome, cost_nanousd, tuple(parts)))
            real(mark, now_ms=now_ms, outcome=outcome, cost_nanousd=cost_nanousd, parts=parts)

        object.__setattr__(stage.gateway.guarding, "keeper", Spy(stage.keeper, observe))


class Spy:
    def __init__(self, keeper: Any, observe: Any) -> None:
        self.admit = keeper.admit
        self.observe = observe


async def trips_of(stage: Stage) -> list[GuardTrip]:
    return [trip async for trip in stage.ledger.trips(TripQuery())]


def test_the_same_dear_request_is_slowed_down_then_stopped_and_all_of_it_is_written_down() -> None:
    stage = Stage({DEAR: [reply_of() for _ in range(9)]}, policy=dear_policy())

    async def story() -> None:
        for _ in range(5):
            answer = await stage.gateway.answer(request_of(), TEAM, PREMIUM)
            assert answer.bill.guard is None
        with pytest.raises(RateLimitedError) as slowed:
            await stage.gateway.answer(request_of(), TEAM, PREMIUM)
        assert float(str(slowed.value.data["retry_after_s"])) > 0
        for _ in range(2):
            with pytest.raises(LoopDetectedError) as stopped:
                await stage.gateway.answer(request_of(), TEAM, PREMIUM)
        assert "tollgate guards release" in stopped.value.message
        assert stage.vendor.asked == [DEAR] * 5
        refused = stage.ledger.rejections()
        assert [line.error_code for line in refused] == ["rate_limited", "loop_detected", "loop_detected"]
        assert refused[-1].subject.decision_id == stopped.value.decision_id
        assert refused[-1].receipt is not None
        assert [trip.action for trip in await trips_of(stage)] == ["stop", "throttle"]
        (trip, _) = await trips_of(stage)
        assert (trip.guard, trip.team, trip.key_id, trip.scope) == ("exact_repeat", "search", "k1", "pattern")
        assert trip.leaked_nanousd >= 0
        # Another request of the same key is none of it.
        await stage.gateway.answer(request_of("Something else?"), TEAM, PREMIUM)

    leap(story())


def test_a_policy_may_turn_them_off() -> None:
    stage = Stage({DEAR: [reply_of() for _ in range(20)]}, policy=dear_policy(guards=Guards(is_on=False)))

    async def story() -> None:
        for _ in range(20):
            await stage.gateway.answer(request_of(), TEAM, PREMIUM)
        assert await trips_of(stage) == []

    leap(story())


def test_what_a_guard_wants_cheaper_goes_to_the_cheapest_and_the_receipt_says_why() -> None:
    stage = Stage(
        {DEAR: [reply_of() for _ in range(5)], CHEAP: [reply_of()]}, policy=dear_policy(dear_usd="3500")
    )  # 0.14 USD a call: past the limit, and within what may still be spent past it

    async def story() -> None:
        for _ in range(5):
            await stage.gateway.answer(request_of(), TEAM, PREMIUM)
        bill = (await stage.gateway.answer(request_of(), TEAM, PREMIUM)).bill
        assert (bill.model, bill.reason, bill.promise) == (CHEAP, "guard_downgrade", "none")
        assert bill.guard == "exact_repeat; downgrade"
        assert (b"x-router-guard", b"exact_repeat; downgrade") in bill_headers(bill)
        row, (intent, *_) = await stage.ledger.request(bill.decision_id)  # type: ignore[misc]
        assert row.reason == "guard_downgrade"
        receipt = intent.receipt
        assert receipt["guard"]["guard"] == "exact_repeat"
        assert receipt["guard"]["evidence"]["repeats"] == 6
        again = choice_of_receipt(receipt)
        assert again is not None
        assert (again.order, again.reason) == ((CHEAP, DEAR), "guard_downgrade")

    leap(story())


def test_route_asks_no_guard() -> None:
    stage = Stage({DEAR: [reply_of()]}, policy=dear_policy())
    for _ in range(30):
        leap_route(stage)
    answer = leap(stage.gateway.answer(request_of(), TEAM, PREMIUM))
    assert answer.bill.guard is None


def leap_route(stage: Stage) -> None:
    async def story() -> None:
        stage.gateway.route(request_of(), TEAM, PREMIUM)

    leap(story())


def test_a_ticket_says_which_lineage_a_call_descends_from_and_the_ledger_too() -> None:
    stage = Stage({CHEAP: [reply_of(), reply_of("B"), reply_of("C")]})

    async def story() -> None:
        first = (await stage.gateway.answer(request_of("one"), TEAM, SOME)).bill
        assert first.lineage is not None
        assert (b"x-router-lineage", first.lineage.encode()) in bill_headers(first)
        bills = [first]
        for text, ticket in (("two", first.lineage), ("three", first.lineage[:-1] + "x")):
            bills.append((await stage.gateway.answer(request_of(text), TEAM, Terms(lineage=ticket))).bill)
        lineages = {row.decision_id: row.lineage_id for row in await stage.rows()}
        parent, child, forged = (lineages[bill.decision_id] for bill in bills)
        assert parent == child
        assert forged != parent, "a forged ticket counts as none"

    leap(story())


def whole_stream() -> ScriptedStream:
    return ScriptedStream()


async def streamed(stage: Stage, *, leaves_after: int | None = None) -> None:
    stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
    headers = decision_headers(stream.decision, stream.model, (), lineage=stream.lineage, guard=stream.guard)
    assert any(name == b"x-router-lineage" for name, _ in headers)
    if leaves_after is None:
        await read_all(stream)
    else:
        for _ in range(leaves_after):
            await anext(stream)
    await stream.aclose()
    await stage.background.aclose(5.0)


async def plain(stage: Stage) -> None:
    await stage.gateway.answer(request_of(), NOBODY, ANY)


async def cancelled(stage: Stage) -> None:
    task = asyncio.ensure_future(plain(stage))
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("script", "ask", "outcome", "parts"),
    [
        ([reply_of("Paris.")], plain, "answered", (Text("Paris."),)),
        ([ProviderError("down", is_billed=True)] * 3, plain, "failed", ()),
        ([after(60.0, reply_of())], cancelled, "client_left", ()),
        ([ScriptedStream()], streamed, "answered", (Text("Paris."),)),
        (
            [ScriptedStream((StreamStart("m", "x"), TextDelta("Par"), ProviderError("broke", is_billed=True)))],
            streamed,
            "broken",
            (Text("Par"),),
        ),
        ([ScriptedStream()], lambda stage: streamed(stage, leaves_after=2), "client_left", (Text("Paris."),)),
    ],
    ids=["answered", "failed", "cancelled", "streamed", "broken", "left"],
)
def test_each_end_is_told_once_with_all_that_it_cost(script: list[Any], ask: Any, outcome: str, parts: Any) -> None:
    stage = Stage({CHEAP: list(script), DEAR: [ProviderError("down", is_billed=True)] * 3})
    told = Told(stage)

    async def story() -> None:
        try:
            work: Coroutine[Any, Any, None] = ask(stage)
            await work
        except RouterError:
            pass
        cost = sum(line.cost_nanousd for line in stage.ledger.settlements())
        assert told.ends == [(outcome, cost, parts)]
        assert cost > 0

    leap(story())


def test_a_request_that_a_budget_refuses_has_ended_too() -> None:
    tiny = Budget(name="all", scope="all", window="total", limit_nanousd=1)
    stage = Stage({CHEAP: [reply_of()]}, policy=dear_policy(budgets=(tiny,)))
    told = Told(stage)

    async def story() -> None:
        with pytest.raises(BudgetExhaustedError):
            await plain(stage)
        assert told.ends == [("rejected", 0, ())]

    leap(story())


# --- what a stream said ---------------------------------------------------------------------------------------------


def chunk(delta: str) -> bytes:
    return b'data: {"id":"c","choices":[{"index":0,"delta":' + delta.encode() + b"}]}\n\n"


def test_a_transcript_reads_frames_and_events_in_their_order() -> None:
    heard = Transcript()
    heard.note(StreamStart("m", "x"))
    heard.note(RawFrames(chunk('{"role":"assistant","content":"Par"}') + chunk('{"content":"is"}'), 5))
    heard.note(TextDelta(" is"))
    heard.note(RawFrames(chunk('{"content":" it."}'), 4))
    heard.note(ToolCallDelta(0, '{"q"', id="t", name="find"))
    heard.note(RawFrames(chunk('{"tool_calls":[{"index":0,"function":{"arguments":": 1}"}}]}'), 4))
    heard.note(RawFrames(chunk('{"tool_calls":[{"index":1,"id":"u","function":{"name":"see","arguments":""}}]}'), 4))
    heard.note(Finish("stop"))
    heard.note(UsageReport(USAGE))
    assert heard.parts() == (Text("Paris is it."), ToolCall("0", "find", '{"q": 1}'), ToolCall("1", "see", ""))


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {not json\n\n",
        b": a comment\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": null}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {}}}]}}]}\n\n',
        b"\xff\xfe\n\n",
        b"",
    ],
)
def test_a_frame_that_says_nothing_is_passed_over(frame: bytes) -> None:
    heard = Transcript()
    heard.note(RawFrames(frame, 4))
    heard.note(TextDelta("on"))
    assert heard.parts()[0] == Text("on")


def test_an_answer_that_is_too_long_is_not_told_and_not_kept() -> None:
    heard = Transcript()
    for _ in range(100):
        heard.note(TextDelta("x" * (BYTES_MAX // 10)))
    assert heard._events == []
    assert heard.parts() == ()


class FailingStore:
    """Fails as it is told to, once each, and then works."""

    every_s = 1.0

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.told: list[Any] = []

    async def publish(self, events: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.told += events

    async def read(self) -> list[Any]:
        return []


@pytest.mark.parametrize("failures", [1, 2, 9])
def test_a_bug_in_sharing_drops_what_it_failed_on_and_the_sharing_goes_on(
    failures: int, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage({CHEAP: [reply_of() for _ in range(12)]})
    store: Any = FailingStore(*(TypeError("the words of a prompt") for _ in range(failures)))

    async def run() -> None:
        sharing = asyncio.ensure_future(share(stage.keeper, store))
        for index in range(12):
            await stage.gateway.answer(request_of(f"What is the capital of country {index}?"), TEAM, SOME)
            await asyncio.sleep(1.0)
            assert not sharing.done()
        assert stage.keeper.is_away is False
        assert store.told
        assert stage.keeper.outbox == []
        sharing.cancel()

    leap(run())
    said = [record.getMessage() for record in caplog.records]
    assert said.count("guards dropped what they could not share") == failures
    assert ("guards not shared" in said) is (failures > AWAY_S)
    assert "prompt" not in caplog.text
