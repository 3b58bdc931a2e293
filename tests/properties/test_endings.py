"""However vendors, clients and the store behave, and whenever it is cut off, the ledger explains every attempt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Finish, StreamStart, TextDelta, UsageReport
from router.clock import SystemClock
from router.errors import (
    LedgerUnavailableError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RouterError,
)
from router.ledger import RequestQuery
from router.stores import open_ledger
from router.tokens import TokenUsage
from tests.builders import request_of
from tests.router.scripted import (
    ANY,
    CHEAP,
    DEAR,
    NOBODY,
    USAGE,
    ScriptedStream,
    Stage,
    after,
    leap,
    policy_with,
    read_all,
    reply_of,
)

FAILURES = st.one_of(
    st.builds(lambda after_s: ProviderUnavailableError("busy", retry_after_s=after_s), st.sampled_from([None, 0.5, 9])),
    st.builds(lambda: ProviderUnavailableError("gone", is_billed=True)),
    st.builds(lambda: ProviderTimeoutError("late", is_billed=True)),
    st.builds(lambda: ProviderTimeoutError("no connection")),
    st.builds(lambda billed: ProviderError("odd", is_billed=billed), st.booleans()),
    st.builds(lambda: ProviderRejectedError("no", status=400)),
)
EVENTS = st.lists(
    st.sampled_from([TextDelta("word "), 0.5, 3.0, UsageReport(USAGE), ProviderError("torn", is_billed=True)]),
    max_size=8,
)
PAUSES = st.sampled_from([0.0, 0.1, 2.0, 30.0])


def steps(answer: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.builds(after, PAUSES, FAILURES | answer), min_size=6, max_size=6)


PLAIN = steps(st.sampled_from([reply_of(), reply_of(usage=None)]))
STREAMED = steps(
    st.builds(
        lambda events, counted, is_legible: ScriptedStream(
            [StreamStart("m", "x"), *events, Finish("stop")], usage_so_far=counted, is_legible=is_legible
        ),
        EVENTS,
        st.sampled_from([None, TokenUsage(70, 30), TokenUsage(10**9)]),
        st.booleans(),
    )
)


def wait_or_fail(pause_s: float | None) -> Any:
    async def hook() -> None:
        if pause_s is None:
            raise LedgerUnavailableError("away")
        await asyncio.sleep(pause_s)

    return hook


@given(
    st.booleans(),
    st.data(),
    st.none() | st.floats(0, 60),
    st.sampled_from([0.0, 0.0, 0.0, 1.0, None]),
    st.sampled_from([1.0, 20.0, 120.0]),
)
def test_every_attempt_is_explained(
    is_streamed: bool, data: st.DataObject, leaves_at_s: float | None, sync: float | None, deadline_s: float
) -> None:
    scripts = {name: data.draw(STREAMED if is_streamed else PLAIN) for name in (CHEAP, DEAR)}
    policy = policy_with(deadline_s=deadline_s, drain_s=5.0, cooldown_failures=100)
    stage = Stage(scripts, policy=policy)
    stage.ledger.before_sync = wait_or_fail(sync)

    async def ask() -> Any:
        if not is_streamed:
            return (await stage.gateway.answer(request_of(), NOBODY, ANY)).bill
        stream = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        try:
            await read_all(stream)
        finally:
            await stream.aclose()
        return stream.bill

    async def story() -> None:
        begun_s = asyncio.get_running_loop().time()
        task = asyncio.ensure_future(ask())
        if leaves_at_s is not None:
            await asyncio.sleep(leaves_at_s)
            task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        await stage.background.aclose(100.0)
        await stage.ledger.require_whole()
        settlements = stage.ledger.settlements()
        assert len(stage.seen.attempts) == len(settlements) == len(stage.vendor.calls)
        assert len(stage.seen.finished) == (1 if settlements else 0)
        assert list(dict.fromkeys(stage.vendor.asked)) in ([CHEAP], [CHEAP, DEAR], [])
        assert all(at_s - begun_s <= deadline_s for at_s in stage.vendor.times_s)
        if isinstance(result, BaseException):
            assert isinstance(result, RouterError | asyncio.CancelledError), repr(result)
        else:
            assert result.cost_nanousd == sum(each.cost_nanousd for each in settlements)
            assert settlements[-1].outcome == "answered"

    leap(story())


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_cut_off_at_any_moment_the_file_on_disk_is_whole(is_streamed: bool) -> None:
    clock = SystemClock()
    called: set[str] = set()
    with TemporaryDirectory() as folder:
        ledger = await open_ledger(None, home=Path(folder), clock=clock)
        for moment in range(80):
            script = {name: [ScriptedStream() if is_streamed else reply_of()] for name in (CHEAP, DEAR)}
            stage = Stage(script, ledger=ledger)
            await _cut_off(stage, moment, is_streamed=is_streamed)
            called |= {call.attempt_id for call in stage.vendor.calls}
        await ledger.aclose()
        again = await open_ledger(None, home=Path(folder), clock=clock)
        rows = [row async for row in again.requests(RequestQuery())]
        for row in rows:
            found = await again.request(row.decision_id)
            assert found is not None
            assert len(found[1]) == 2, "an intent and its one settlement"
            is_called = f"{row.decision_id}-1" in called
            assert is_called or (row.outcome, row.cost_nanousd) == ("client_left", 0)
            assert not is_called or row.cost_nanousd > 0
        await again.aclose()
    assert called <= {f"{row.decision_id}-1" for row in rows}
    assert {row.outcome for row in rows} <= {"answered", "client_left"}
    assert len(called) > 10


async def _cut_off(stage: Stage, moment: int, *, is_streamed: bool) -> None:
    """Ask, and cancel after some turns of the loop or some fractions of a millisecond."""

    async def ask() -> None:
        if not is_streamed:
            await stage.gateway.answer(request_of(), NOBODY, ANY)
            return
        stream = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        try:
            await read_all(stream)
        finally:
            await stream.aclose()

    task = asyncio.ensure_future(ask())
    if moment < 20:
        for _ in range(moment):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep((moment - 20) * 0.0002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stage.background.aclose(10.0)
