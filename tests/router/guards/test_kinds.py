"""Kinds of loops and of work that look alike, side by side: the one is stopped, its neighbour passes."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from benchmarks.leak_agents import called, prose, result, said, system, user
from benchmarks.leak_loops import chinese
from router.chat import Image, Message, Text
from router.errors import AdmissionError, FanoutExceededError, LoopDetectedError, RateLimitedError
from tests.router.guards.asking import USD, Asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.policy import Terms

CENT = USD // 100
DIME = USD // 10
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
RULES = system("You are an agent.")
BODY = prose(random.Random(1), 300)


@dataclass
class Caller:
    """Asks and counts what passes."""

    asking: Asking = field(default_factory=Asking)
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    passed: int = 0
    refused: AdmissionError | None = None

    def ask(
        self, *messages: Message, cost: int = DIME, wait_ms: int = 500, answer: str = "", terms: Terms | None = None,
        outcome: str = "answered",
    ) -> bool:  # fmt: skip
        parts = (Text(answer),) if answer else ()
        try:
            self.asking.ask(messages, cost=cost, wait_ms=wait_ms, answer=parts, terms=terms, outcome=outcome)
        except AdmissionError as error:
            self.refused = error
            return False
        self.passed += 1
        return True

    def words(self, count: int) -> str:
        return prose(self.rng, count)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))


def repeated(make: Callable[[Caller, int], tuple[Message, ...]], *, calls: int = 60, cost: int = DIME) -> int:
    """How many of so many single questions pass, each answered in other words."""
    caller = Caller()
    for index in range(calls):
        caller.ask(*make(caller, index), cost=cost, answer=caller.words(30))
    return caller.passed


def test_a_fresh_id_makes_a_long_prompt_no_other_one() -> None:
    assert repeated(lambda c, _: (RULES, user(f"[{c.uuid()}] {BODY}"))) <= 8
    assert repeated(lambda c, _: (RULES, user(f"[{c.uuid()}] {BODY} {c.words(5)}"))) == 60


def test_a_fresh_id_behind_many_that_stay_is_seen_through_and_a_list_of_ids_is_not() -> None:
    steady = " ".join(str(uuid.UUID(int=random.Random(each).getrandbits(128))) for each in range(30))
    assert repeated(lambda c, _: (RULES, user(f"{BODY} {steady} trace {c.uuid()}"))) <= 8
    assert repeated(lambda c, _: (RULES, user(f"{BODY} " + " ".join(c.uuid() for _ in range(30))))) == 60


def test_a_short_prompt_may_be_about_its_id_and_an_agent_that_looks_it_up_goes_on() -> None:
    assert repeated(lambda c, _: (RULES, user(f"Resolve {c.uuid()}"))) <= 13
    caller = Caller()
    for _ in range(40):
        opening = (RULES, user(f"Resolve {caller.uuid()}"))
        call = called(caller.rng.getrandbits(32), "get", {"q": caller.words(3)})
        assert caller.ask(*opening)
        assert caller.ask(*opening, said(call), result(call, caller.words(30)))


def test_retries_that_name_themselves_anew_are_retries() -> None:
    caller = Caller()
    for number in range(12):
        text = prose(random.Random(number), 60)
        for _ in range(3):
            caller.ask(RULES, user(f"[{caller.uuid()}] {text}"), outcome="failed", cost=CENT)
    assert isinstance(caller.refused, RateLimitedError)
    assert caller.refused.data["guard"] == "retry_storm"


def test_a_document_in_the_system_prompt_makes_another_request_of_it_and_a_session_id_or_a_time_does_not() -> None:
    assert repeated(lambda c, _: (system(f"Document: {c.words(40)}"), user("Which label?"))) == 60
    again = repeated(lambda c, n: (system(f"Session {c.uuid()}, request {n}, 09:{n // 2:02d}."), user("Which label?")))
    assert again <= 8


def test_agents_whose_tasks_stand_in_system_prompts_are_not_one_lineage() -> None:
    asking = Asking()
    ids = {asking.ask((system(f"Your task: {prose(random.Random(n), 20)}"), user("Begin."))).lineage_id for n in (1, 2)}
    assert len(ids) == 2


def test_who_begins_as_everybody_does_shares_no_lineage_with_them_once_it_is_a_button() -> None:
    caller = Caller()

    def turns(*, wait_ms: int) -> tuple[str, str]:
        verdicts = []
        messages: tuple[Message, ...] = (RULES, user(f"I pressed the button that asks where my order is. {BODY[:80]}"))
        for turn in range(2):
            answer = "Please tell me the number of your order." if not turn else caller.words(20)
            parts = (Text(answer),)
            verdicts.append(caller.asking.ask(messages, cost=CENT, wait_ms=wait_ms, answer=parts).lineage_id)
            messages = (*messages, said(*parts), user(caller.words(12)))
        return verdicts[0], verdicts[1]

    first = [turns(wait_ms=20_000) for _ in range(25)]
    assert len({follow for _, follow in first[:10]}) == 1
    later = [turns(wait_ms=20_000)[1] for _ in range(3)]
    assert len(set(later)) == 3


def test_a_loop_that_began_with_a_greeting_stops_nobody_else_who_greets() -> None:
    caller, log = Caller(), (RULES, user("Hi"))
    while not isinstance(caller.refused, LoopDetectedError):
        if caller.ask(*log, answer=(answer := caller.words(300)), wait_ms=3_000):
            log = (*log, said(Text(answer)), user("Continue."))
    answer = caller.words(20)
    assert caller.ask(RULES, user("Hi"), answer=answer, wait_ms=3_000)
    assert caller.ask(RULES, user("Hi"), said(Text(answer)), user(caller.words(9)), wait_ms=9_000)
    assert not caller.ask(*log)


@pytest.mark.parametrize("is_chinese", [False, True])
def test_an_answer_that_is_handed_on_alone_is_a_recursion_and_with_a_further_chapter_a_step(is_chinese: bool) -> None:
    def run(chapter_words: int) -> Caller:
        caller, summary = Caller(), "nothing"
        for _ in range(30):
            write = (lambda n: chinese(caller.rng, 2 * n)) if is_chinese else caller.words
            chapter = write(chapter_words) if chapter_words else ""
            text = f"The summary so far:\n{summary}\nRefine it:\n{chapter}"
            summary = write(80)
            if not caller.ask(RULES, user(text), answer=summary):
                break
        return caller

    alone = run(0)
    assert isinstance(alone.refused, FanoutExceededError)
    assert alone.passed <= 10
    assert run(200).passed == 30


def test_a_template_is_no_further_input() -> None:
    caller, answer = Caller(), "nothing"
    for _ in range(30):
        text, answer = f"{BODY}\nThe plan so far:\n{answer}\nMake it better.", caller.words(100)
        if not caller.ask(RULES, user(text), answer=answer):
            break
    assert caller.passed <= 11


def test_further_prompts_beside_the_first_that_hold_one_answer_are_agents() -> None:
    caller = Caller()
    tasks = [caller.words(20) for _ in range(300)]
    caller.ask(RULES, user("Plan it."), answer="\n".join(tasks[:60]))
    ids = [
        caller.asking.ask((RULES, user(f"{task}\n{caller.words(40)}")), cost=CENT, wait_ms=10).lineage_id
        for task in tasks[:50]
    ]
    assert len(set(ids)) == 1
    root = caller.asking.keeper.book.roots.peek(int(ids[0].removeprefix("lineage-"), 16))
    assert root is not None
    assert root.agents >= 50


@pytest.mark.parametrize(("agents", "wrap"), [(2, "{}"), (2, "The reviewer says: {}"), (3, "{}")])
def test_agents_that_answer_each_other_are_a_conversation_with_itself(agents: int, wrap: str) -> None:
    caller = Caller()
    logs: list[list[Message]] = [[user(caller.words(40))], *([] for _ in range(agents - 1))]
    for turn in range(60 * agents):
        log, answer = logs[turn % agents], caller.words(100)
        if not caller.ask(system(f"Agent {'abc'[turn % agents]}"), *log, answer=answer, wait_ms=9_000, cost=DIME):
            break
        log.append(said(Text(answer)))
        logs[(turn + 1) % agents].append(user(wrap.format(answer)))
    assert isinstance(caller.refused, LoopDetectedError | RateLimitedError)
    assert caller.passed <= 14 * agents


def test_an_agent_and_a_person_who_answer_each_other_are_not() -> None:
    caller = Caller()
    log: list[Message] = [user(caller.words(40))]
    for _ in range(60):
        answer = caller.words(100)
        assert caller.ask(RULES, *log, answer=answer, wait_ms=9_000)
        log += [said(Text(answer)), user(caller.words(30))]


@pytest.mark.parametrize("kept", [2, 10])
def test_whoever_keeps_the_task_and_the_newest_turns_goes_on_with_the_same_conversation(kept: int) -> None:
    caller, turns = Caller(), tuple[Message, ...]()
    for index in range(40):
        answer = caller.words(100)
        if not caller.ask(RULES, user("The task."), *turns, answer=answer, wait_ms=1_000):
            break
        turns = (*turns, said(Text(answer)), user(f"Continue with part {index}."))[-kept:]
    assert caller.passed <= 13


def test_a_short_answer_proves_no_conversation() -> None:
    caller = Caller()
    shots = (user(f"{BODY} Text: a b c"), said(Text("positive")), user(f"{BODY} Text: d e f"), said(Text("negative")))
    for _ in range(60):
        assert caller.ask(RULES, *shots, user(f"{BODY} Text: {caller.words(3)}"), answer="negative", wait_ms=50)


def spoken(*, chars: int, wait_ms: int, calls: int = 60) -> int:
    caller = Caller()
    log: list[Message] = [user("Tell me a story.")]
    for _ in range(calls):
        answer = caller.words(chars // 7)
        if not caller.ask(RULES, *log, answer=answer, wait_ms=wait_ms, cost=3 * CENT):
            break
        log += [said(Text(answer)), user("go on")]
    return caller.passed


def test_who_can_have_read_the_answer_may_be_a_person_up_to_two_dollars() -> None:
    assert spoken(chars=150, wait_ms=2_500) == 60
    assert spoken(chars=150, wait_ms=700) < 20
    assert spoken(chars=3_000, wait_ms=2_500) < 20
    assert 60 < spoken(chars=150, wait_ms=2_500, calls=300) < 90


def tools(step: Callable[[Caller, int], tuple[str, object, str]], *, turns: int = 80, wait_ms: int = 3_000) -> int:
    caller = Caller()
    log: tuple[Message, ...] = (RULES, user("Go on until it is done."))
    for turn in range(turns):
        name, arguments, text = step(caller, turn)
        call = called(caller.rng.getrandbits(32), name, arguments)
        if not caller.ask(*log, wait_ms=wait_ms, cost=3 * CENT):
            break
        log = (*log, said(call), result(call, text))
    return caller.passed


EMPTY = json.dumps({"items": [], "has_more": True})


@pytest.mark.parametrize(
    ("most", "step"),
    [
        (20, lambda c, n: ("list", {"page": n, "q": "late"}, EMPTY)),
        (20, lambda c, n: ("list", {"offset": 50 * n}, "No results.")),
        (22, lambda c, n: ("book", {"id": 7}, f"错误: 连接被拒绝 (第{n}次)")),
        (22, lambda c, n: ("open", {"path": (p := f"src/{c.words(1)}{n}.py")}, f"Error: no such file: {p}")),
        (22, lambda c, n: ("test", {}, f"Error: assertion failed at line {37 * n % 900}")),
        (20, lambda c, n: ("status", {}, "pending")),
        (24, lambda c, n: ("status", {}, f"{BODY} progress: 41 % at {n // 60:02d}:{n % 60:02d}")),
    ],
)
def test_tools_that_bring_nothing_are_a_loop(most: int, step: Callable[[Caller, int], tuple[str, object, str]]) -> None:
    assert tools(step) <= most


@pytest.mark.parametrize(
    "step",
    [
        lambda c, n: ("list", {"page": n, "q": c.words(2)}, EMPTY),
        lambda c, n: ("read", {"day": f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}"}, '{"events": []}'),
        lambda c, n: ("count", {"from": f"2026-03-{1 + n // 24:02d}T{n % 24:02d}:00:00Z"}, "0 orders"),
        lambda c, n: ("update", {"row": n}, '{"ok": true, "errors": []}'),
        lambda c, n: ("migrate", {"offset": 100 * n}, '{"migrated": 100, "errors": []}'),
        lambda c, n: ("logs", {"page": n}, "\n".join(f"ERROR {c.words(10)}" for _ in range(8))),
        lambda c, n: ("make", {"fix": c.words(2)}, f"error: '{c.words(1)}' unknown\n{90 - n} errors left"),
        lambda c, n: ("status", {}, f"{BODY} progress: {n} %"),
        lambda c, n: ("build", {"part": c.words(2)}, "Build succeeded. 0 errors"),
    ],
)
def test_tools_that_bring_little_each_time_are_work(step: Callable[[Caller, int], tuple[str, object, str]]) -> None:
    assert tools(step) == 80


def test_a_job_that_is_asked_seldom_and_cheaply_may_take_its_time_up_to_a_dollar() -> None:
    assert tools(lambda c, n: ("status", {}, "pending"), turns=35, wait_ms=30_000) == 35
    assert tools(lambda c, n: ("status", {}, "pending"), turns=80, wait_ms=30_000) < 45


def test_an_editor_that_asks_at_every_key_is_no_conversation_with_itself() -> None:
    caller, typed = Caller(), ""
    for index in range(200):
        answer = "" if index % 50 else caller.words(6)
        assert caller.ask(RULES, user(f"{BODY}\n{typed}<CURSOR> {BODY}"), answer=answer, wait_ms=200, cost=CENT // 2)
        typed += f"{answer}\n" if index % 100 == 0 else "x"


def picture(text: str, url: str) -> Message:
    return Message("user", (Text(text), Image(url=url)))


def test_the_same_picture_with_a_time_beside_it_or_signed_anew_is_the_same() -> None:
    at = "https://camera.example/door.jpg"
    assert repeated(lambda _, n: (RULES, picture(f"09:00:{n // 2:02d} What is there?", at))) <= 8
    signed = "?w=1&X-Amz-Date=20261106T1800{:02d}Z&X-Amz-Signature={:064x}"
    assert repeated(lambda c, n: (RULES, picture("What?", at + signed.format(n, c.rng.getrandbits(256))))) <= 8
    assert repeated(lambda _, n: (RULES, picture("What is there?", f"{at}?frame={n}"))) == 60


def test_once_a_minute_is_counted_as_in_a_window_that_slides_and_once_in_two_minutes_is_not_past_it() -> None:
    fast, slow = Caller(), Caller()
    for _ in range(30):
        fast.ask(user("What is in the queue?"), cost=USD // 4, wait_ms=MINUTE_MS)
        slow.ask(user("What is in the queue?"), cost=USD // 4, wait_ms=2 * MINUTE_MS + 1)
    assert fast.passed <= 6  # the throttle is heeded once: two minutes lie between the fifth and the seventh
    assert slow.passed == 30


def test_repeats_of_a_rush_are_forgotten_with_the_window() -> None:
    caller = Caller()
    for _ in range(200):
        assert caller.ask(user("What is new?"), cost=CENT // 100)
    caller.asking.now_ms += 11 * MINUTE_MS
    assert [caller.asking.ask("What is new?", cost=CENT // 100).action for _ in range(5)] == ["allow"] * 5


def test_what_cost_too_much_within_a_day_is_not_let_through_again_for_pausing_an_hour() -> None:
    caller = Caller()
    for _ in range(72):
        caller.ask(user("What is in the queue?"), cost=USD, wait_ms=HOUR_MS)
    assert caller.passed <= 13
    caller.asking.now_ms += 30 * HOUR_MS
    assert caller.ask(user("What is in the queue?"), cost=USD)


def test_a_row_that_comes_again_and_again_among_others_passes_and_alone_does_not() -> None:
    among, alone = Caller(), Caller()
    for index in range(2_000):
        text = "}" if index % 10 == 0 else among.words(7)
        assert among.ask(RULES, user(f"Translate: {text}"), cost=CENT // 2, wait_ms=100)
        alone.ask(RULES, user("Translate: }"), cost=CENT // 2, wait_ms=100)
    assert alone.passed < 60


def test_rows_of_figures_that_get_the_same_answer_pass_and_one_counter_does_not() -> None:
    answer = json.dumps({"anomaly": False, "reason": "all values are within range"})
    rows, count = Caller(), Caller()
    for index in range(200):
        figures = ", ".join(f"s{column}={rows.rng.randrange(1_000)}" for column in range(8))
        assert rows.ask(RULES, user(f"Is anything wrong? {figures}"), answer=answer, cost=CENT)
        count.ask(RULES, user(f"Is anything wrong with number {index}?"), answer=answer, cost=CENT)
    assert count.passed < 60
