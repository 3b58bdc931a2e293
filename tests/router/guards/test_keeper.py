from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Image, Message, Request, Text, Thinking, ToolCall, ToolResult
from router.errors import (
    AdmissionError,
    BudgetStoreUnavailableError,
    FanoutExceededError,
    LoopDetectedError,
    RateLimitedError,
)
from router.guards import event_of, plain_of
from router.guards.events import Asked
from router.policy import Caller, Guards, Terms
from tests.router.guards.asking import NOW_MS, USD, Asking, user

MINUTE_MS = 60_000


def refused(asking: Asking, text: str, **more: object) -> AdmissionError:
    with pytest.raises(AdmissionError) as caught:
        asking.ask(text, **more)  # type: ignore[arg-type]
    return caught.value


def stopped(text: str = "the same again") -> Asking:
    asking = Asking()
    for _ in range(6):
        asking.ask(text)
    assert isinstance(refused(asking, text), RateLimitedError)
    assert isinstance(refused(asking, text), LoopDetectedError)
    return asking


def test_the_ladder_is_climbed_one_rung_at_a_time_and_each_is_written_down_once() -> None:
    asking = Asking()
    actions = [asking.ask("again", cost=USD // 12, is_pinned=False).action for _ in range(7)]
    assert actions == ["allow"] * 5 + ["alert", "downgrade"]
    throttled = refused(asking, "again", cost=USD // 12, is_pinned=False)
    assert isinstance(throttled, RateLimitedError)
    assert throttled.data["retry_after_s"] == 120
    for _ in range(50):
        assert isinstance(refused(asking, "again"), LoopDetectedError)
    assert [trip.action for trip in asking.trips] == ["alert", "downgrade", "throttle", "stop"]
    stop = asking.trips[-1]
    assert stop.guard == "exact_repeat"
    assert stop.evidence["repeats"] == 8
    assert stop.leaked_nanousd == pytest.approx(2 * USD // 12, rel=0.01)
    assert stop.until_ms == stop.time_ms + 600_000
    assert (stop.team, stop.key_id, stop.by) == ("t1", "k1", "guard")


def test_a_pinned_model_is_not_downgraded() -> None:
    asking = Asking()
    assert [asking.ask("again", cost=USD // 12).action for _ in range(7)][-2:] == ["alert", "alert"]


def test_what_else_the_key_and_the_team_ask_goes_on() -> None:
    asking = stopped()
    assert asking.ask("something else").action == "allow"
    assert asking.ask("the same again", caller=Caller(key_id="k2", team="t1")).action == "allow"


def test_a_loop_that_never_rests_is_never_let_through_again() -> None:
    asking = stopped()
    for _ in range(60 * 60):  # sixty hours, a call a minute
        assert isinstance(refused(asking, "the same again", wait_ms=MINUTE_MS), LoopDetectedError)


def test_after_silence_one_call_is_let_through_and_a_relapse_doubles_the_silence() -> None:
    asking = stopped()
    assert asking.ask("the same again", wait_ms=11 * MINUTE_MS).action == "tag"
    assert isinstance(refused(asking, "the same again"), LoopDetectedError)
    assert isinstance(refused(asking, "the same again", wait_ms=11 * MINUTE_MS), LoopDetectedError)
    assert asking.ask("the same again", wait_ms=21 * MINUTE_MS).action == "tag"
    assert [trip.action for trip in asking.trips][-3:] == ["probe", "stop", "probe"]


def test_a_probe_that_nothing_follows_ends_the_stop() -> None:
    asking = stopped()
    asking.ask("the same again", wait_ms=11 * MINUTE_MS)
    assert asking.ask("the same again", wait_ms=11 * MINUTE_MS).action == "allow"
    assert [asking.ask("the same again").action for _ in range(3)] == ["allow"] * 3


def test_an_operator_releases_and_exempts_and_both_are_written_down() -> None:
    asking = stopped()
    ((scope_id, case),) = asking.keeper.cases(asking.now_ms)
    assert asking.keeper.release(scope_id, asking.now_ms) is case
    assert asking.ask("the same again").action == "allow"
    asking.keeper.exempt(scope_id, asking.now_ms, asking.now_ms + 60 * MINUTE_MS)
    assert [asking.ask("the same again").action for _ in range(50)] == ["allow"] * 50
    assert [(trip.action, trip.by) for trip in asking.trips][-2:] == [("release", "operator"), ("exempt", "operator")]
    asking.now_ms += 61 * MINUTE_MS
    for _ in range(6):
        asking.ask("the same again")
    assert isinstance(refused(asking, "the same again"), RateLimitedError)
    assert asking.keeper.release("pattern-0000000000000000", asking.now_ms) is None


@pytest.mark.parametrize("terms", [Terms(idempotency_key="a"), Terms(tags={"batch": "true"})])
def test_what_is_declared_may_repeat_more_but_not_without_end(terms: Terms) -> None:
    asking = Asking()
    for _ in range(25):
        asking.ask("again", terms=terms)
    for _ in range(5):
        asking.ask("again", terms=terms)
    assert isinstance(refused(asking, "again", terms=terms), RateLimitedError)


def test_without_guards_nothing_is_counted() -> None:
    asking = Asking(bounds=Guards(is_on=False))
    assert {asking.ask("again").action for _ in range(50)} == {"allow"}


def test_state_that_is_away_refuses_or_not_as_the_policy_says() -> None:
    asking = Asking(bounds=Guards(rejects_without_state=True))
    asking.keeper.is_away = True
    with pytest.raises(BudgetStoreUnavailableError, match="when_state_unavailable"):
        asking.ask("anything")
    asking.bounds = Guards()
    assert asking.ask("anything").action == "allow"


def test_a_clock_that_steps_back_lets_nothing_through() -> None:
    asking = stopped()
    asking.now_ms -= 3 * 24 * 60 * MINUTE_MS
    assert isinstance(refused(asking, "the same again"), LoopDetectedError)


def test_another_gateway_and_one_that_restarts_know_what_this_one_saw() -> None:
    asking, other = Asking(), Asking()
    for _ in range(6):
        asking.ask("the same again, at 2026-11-25T10:00:00Z")
    carried = [event_of(orjson.loads(orjson.dumps(plain_of(each)))) for each in asking.keeper.outbox]
    assert carried == asking.keeper.outbox
    assert any(isinstance(each, Asked) and each.stamps for each in carried), "a time in the text is carried too"
    other.keeper.fold(each for each in carried if each is not None)
    other.now_ms = asking.now_ms
    assert isinstance(refused(other, "the same again, at 2026-11-25T10:00:00Z"), RateLimitedError)
    assert event_of(["z", 1]) is None
    assert event_of(["a", 1]) is None
    assert event_of("nonsense") is None


def test_velocity_in_dollars_slows_a_lineage_and_a_session_down() -> None:
    asking = Asking(bounds=Guards(nanousd_per_hour_max=USD))
    terms = Terms(session_id="run")
    for number in range(5):
        asking.ask(f"one question {number} of its own kind", terms=terms)
    error = refused(asking, "another question entirely", terms=terms)
    assert isinstance(error, RateLimitedError)
    assert error.data["guard"] == "dollar_velocity"
    assert 0 < float(str(error.data["retry_after_s"])) <= 3_600
    assert asking.ask("another question entirely", terms=Terms(session_id="other")).action == "allow"
    assert asking.ask("a last question", terms=terms, wait_ms=30 * MINUTE_MS).action == "allow"


def test_a_child_by_ticket_is_deeper_whatever_session_it_names() -> None:
    asking = Asking()
    ticket = None
    for depth in range(9):
        verdict = asking.ask(f"task of depth {depth} alone", terms=Terms(lineage=ticket, session_id=f"s{depth}"))
        ticket = verdict.ticket
    error = refused(asking, "one more task", terms=Terms(lineage=ticket))
    assert isinstance(error, FanoutExceededError)
    assert error.data["depth"] == 9
    assert error.data["most"] == 8


def test_more_descendants_than_allowed_stop_the_lineage_and_nobody_else() -> None:
    asking = Asking(bounds=Guards(descendants_max=10))
    root = asking.ask("the root's task").ticket
    for number in range(10):
        asking.ask(f"child {chr(97 + number)}", terms=Terms(lineage=root))
    assert isinstance(refused(asking, "child z", terms=Terms(lineage=root)), FanoutExceededError)
    again = (user("the root's task"), Message("assistant", (Text("yes"),)), user("and now?"))
    with pytest.raises(FanoutExceededError):
        asking.ask(again)
    assert asking.ask("child z").action == "allow"


def test_a_forged_or_foreign_ticket_is_as_good_as_none() -> None:
    asking, other = Asking(), Asking()
    ticket = asking.ask("the root's task").ticket
    foreign = other.ask("a task", caller=Caller(key_id="k9", team="t9")).ticket
    mine = asking.ask("my own task").lineage_id
    for bad in (ticket[:-1] + ("A" if ticket[-1] != "A" else "B"), foreign, "", "t1.", "\x00", ticket * 20):
        verdict = asking.ask(f"task {bad!r} of its own", terms=Terms(lineage=bad))
        assert verdict.action == "allow"
        assert verdict.lineage_id != mine
    assert (
        asking.keeper.book.roots.peek(int(asking.ask("x y", terms=Terms(lineage=ticket)).lineage_id[8:], 16))
        is not None
    )


def test_billed_failures_may_be_retried_within_a_budget_that_successes_refill() -> None:
    asking = Asking(bounds=Guards(repeats_max=1_000))
    for number in range(11):
        asking.ask(f"work {number} fails", outcome="failed")
    for number in range(10):
        asking.ask(f"work {number} fails", outcome="failed")
    error = refused(asking, "work 10 fails")
    assert isinstance(error, RateLimitedError)
    assert error.data["guard"] == "retry_storm"
    for number in range(4):
        asking.ask(f"sound work {chr(97 + number)}")
    assert asking.ask("work 10 fails").action == "allow"


def test_failures_that_nobody_billed_are_no_storm() -> None:
    asking = Asking(bounds=Guards(repeats_max=1_000))
    for _ in range(100):
        asking.ask("work", outcome="failed", cost=0)
    assert not asking.trips


PARTS = st.one_of(
    st.builds(Text, st.text(max_size=40)),
    st.builds(ToolCall, st.text(max_size=4), st.text(max_size=4), st.text(max_size=20)),
    st.builds(ToolResult, st.text(max_size=4), st.tuples(st.builds(Text, st.text(max_size=20)))),
    st.builds(Image, url=st.none() | st.text(max_size=8)),
    st.builds(Thinking, st.text(max_size=5)),
)
MESSAGES = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.lists(PARTS, max_size=3).map(tuple)
)


@given(st.lists(st.lists(MESSAGES, max_size=5).map(tuple), min_size=1, max_size=12), st.integers(0, 10**6))
def test_no_shape_of_request_breaks_a_keeper(requests: list[tuple[Message, ...]], cost: int) -> None:
    asking = Asking()
    for messages in requests:
        answer = messages[-1].parts if messages else ()
        assert asking.ask(messages, cost=cost, answer=answer).action in ("allow", "alert", "tag")


def test_no_text_is_kept() -> None:
    asking = Asking()
    asking.ask("a secret sentence that nobody may ever read again, my friend", answer=(Text("another secret thing"),))
    kept = repr([plain_of(each) for each in asking.keeper.outbox])
    assert "secret" not in kept
    assert "k1" not in kept


def test_state_is_bounded_under_a_flood_of_new_scopes() -> None:
    asking = stopped()
    asking.keeper.book.patterns.size = asking.keeper.book.nodes.size = asking.keeper.book.roots.size = 50
    for number in range(500):
        asking.ask(f"flood {chr(97 + number % 26)}{chr(97 + number // 26)} of prompts", cost=1)
    assert len(asking.keeper.book.patterns) <= 50
    assert len(asking.keeper.book.nodes) <= 50
    assert isinstance(refused(asking, "the same again"), LoopDetectedError)


def test_a_verdict_names_its_lineage_in_time() -> None:
    asking = Asking()
    verdict = asking.ask("hello there")
    assert verdict.lineage_id.startswith("lineage-")
    assert verdict.mark is not None
    assert verdict.mark.asked.time_ms == NOW_MS + 500
    assert replace(verdict, action="tag").guard is None
    assert isinstance(Request, type)
