"""What of an input was sent before: prefix, again, twice, and the time or number that breaks a cache."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Message, Request, Text, Tool, ToolCall, ToolResult
from router.repeats import PIECES_MAX, Repeated, Repeats

RULES = " ".join(
    f"Rule {chr(97 + i)} says that clause {chr(97 + i)} holds in all offices of the firm." for i in range(20)
)


def turn(role: Any, text: str) -> Message:
    return Message(role, (Text(text),))


def request_of(*messages: Message, tools: tuple[Tool, ...] = ()) -> Request:
    return Request("openai_chat", "auto", messages, {}, body_bytes=100, tools=tools)


def asked(system: str, *texts: str) -> Request:
    return request_of(turn("system", system), *(turn("user", text) for text in texts))


def paragraph(name: str) -> str:
    return f"The {name} agreement renews by itself unless one party gives notice in writing before its term ends."


def test_a_conversation_that_goes_on_is_all_prefix() -> None:
    repeats = Repeats()
    first = request_of(turn("system", RULES), turn("user", "What holds?"))
    assert repeats.look(first, "k") == Repeated(chars=len(RULES) + len("What holds?"))
    more = request_of(*first.messages, turn("assistant", "Rule a."), turn("user", "And what else holds?"))
    found = repeats.look(more, "k")
    assert found.prefix == len(RULES) + len("What holds?")
    assert (found.again, found.twice, found.broken) == (0, 0, None)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("It is 2026-11-25 21:40:02. ", "It is 2026-11-25 21:41:07. ", "time"),
        ("Today is Wednesday, November 25, 2026. ", "Today is Thursday, November 26, 2026. ", "time"),
        ("You serve ticket 4711. ", "You serve ticket 4712. ", "number"),
        ("Trace: 7f3a91c2-aa. ", "Trace: 91c27f3a-bb. ", "number"),
    ],
)
def test_a_time_or_number_in_front_breaks_the_cache_of_all_behind_it(before: str, after: str, why: str) -> None:
    repeats = Repeats()
    repeats.look(asked("You are a clerk. " + before + RULES, "What holds?"), "k")
    found = repeats.look(asked("You are a clerk. " + after + RULES, "What else?"), "k")
    assert found.prefix == len("You are a clerk. ")
    assert found.broken is not None
    assert (found.broken.part, found.broken.why) == ("system", why)
    text = "You are a clerk. " + after
    assert text[found.broken.at_char :].strip(), "a place within the text"
    assert found.broken.at_char >= len("You are a clerk. ")
    assert found.broken.behind_chars == len(RULES) == found.again


def test_the_place_is_where_the_time_stands() -> None:
    repeats = Repeats()
    for second in (1, 2):
        found = repeats.look(asked(f"You are a clerk. It is 2026-11-25 21:40:0{second}. {RULES}", "Hm?"), "k")
    assert found.broken is not None
    assert found.broken.at_char == len("You are a clerk. It is ")


def test_words_that_changed_break_a_cache_too_but_are_no_time() -> None:
    repeats = Repeats()
    repeats.look(asked("You serve Anna today. " + RULES), "k")
    found = repeats.look(asked("You serve Bert today. " + RULES), "k")
    assert found.broken is None
    assert found.again == len(RULES)


def test_retrieved_text_that_moved_is_again_and_a_repetition_within_is_twice() -> None:
    repeats = Repeats()
    one, two, three = paragraph("lease"), paragraph("sales"), paragraph("service")
    repeats.look(asked("Answer.", f"{one}\n\n{two}\n\nWho gives notice?"), "k")
    found = repeats.look(asked("Answer.", f"{three}\n\n{two}\n\n{three}\n\nWho gives notice?"), "k")
    assert found.prefix == len("Answer.")
    assert found.again == len(two) + 2
    assert found.twice == len(three) + 2
    assert found.broken is None


def test_another_owner_sent_nothing_before() -> None:
    repeats = Repeats()
    repeats.look(asked(RULES, "What holds?"), "k")
    assert repeats.look(asked(RULES, "What holds?"), "other").prefix == 0
    assert repeats.look(asked(RULES, "What holds?"), None).prefix == 0
    assert repeats.look(asked(RULES, "What holds?"), "k").prefix == len(RULES) + len("What holds?")


def test_other_tools_are_another_beginning() -> None:
    repeats = Repeats()
    repeats.look(request_of(turn("system", RULES)), "k")
    tool = Tool("find", "Finds.", {"type": "object"})
    found = repeats.look(request_of(turn("system", RULES), tools=(tool,)), "k")
    assert (found.prefix, found.again) == (0, len(RULES))


def test_results_of_tools_are_read_and_pictures_are_not() -> None:
    repeats = Repeats()
    result = paragraph("tool")
    messages = (
        turn("user", "Look it up, please, and be quick."), Message("assistant", (ToolCall("c", "find", '{"q": "x"}'),)),
        Message("tool", (ToolResult("c", (Text(result),)),)),
    )  # fmt: skip
    chars = repeats.look(request_of(*messages), "k").chars
    assert chars == len("Look it up, please, and be quick.") + len('{"q": "x"}') + len(result)
    assert repeats.look(request_of(*messages), "k").prefix == chars


def test_the_older_half_is_forgotten_and_memory_is_bounded() -> None:
    repeats = Repeats(most=100)
    for index in range(500):
        repeats.look(asked(f"{paragraph('a')} {index}", paragraph(str(index))), "k")
    assert len(repeats._young) + len(repeats._old) <= 150
    assert repeats.look(asked(f"{paragraph('a')} 0", paragraph("0")), "k").again == 0


def test_a_text_of_a_hundred_thousand_pieces_is_read_up_to_a_bound() -> None:
    found = Repeats().look(request_of(turn("user", "x\n\n" * 100_000)), "k")
    assert found.chars == 300_000
    assert PIECES_MAX < 100_000


TEXTS = st.lists(st.text(alphabet="ab1:.\n ", max_size=80), max_size=5)


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS), max_size=4), st.integers(1, 3))
def test_the_same_again_is_all_prefix_and_nothing_exceeds_the_whole(turns: Any, times: int) -> None:
    repeats = Repeats()
    request = request_of(*(Message(role, tuple(Text(text) for text in texts)) for role, texts in turns))
    found = repeats.look(request, "k")
    assert found.prefix + found.again + found.twice <= found.chars
    assert found.prefix == found.again == 0
    for _ in range(times):
        again = repeats.look(request, "k")
        assert again == Repeated(chars=found.chars, prefix=found.chars)
