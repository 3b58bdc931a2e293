"""What each mark reacts to and what it leaves alone; and that no text can stretch, slow or break it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.answer_marks import ANSWER_EDGE_CHARS, MARK_MAX, MARK_NAMES, QUESTION_EDGE_CHARS, marks_of
from router.chat import Text, ToolCall
from tests.builders import request_of
from tests.router.scripted import reply_of

PROSE = (
    "Photosynthesis turns light into sugar. Leaves take in carbon dioxide and water, and with the energy of sunlight "
    "they make glucose, while oxygen leaves through tiny pores. Most of the work is done by chlorophyll, a pigment "
    "that absorbs red and blue light and reflects green, which is why plants look the way they do."
)
CODE = "Here it is:\n\n```python\ndef add(a, b):\n    return a + b\n```"
RUSSIAN = "\u0441\u0430\u0445\u0430\u0440 \u0438\u0437 \u0441\u0432\u0435\u0442\u0430 " * 3
QUESTION = "Explain briefly what photosynthesis means for plants in a garden."


def mark(name: str, text: str = PROSE, question: str = QUESTION, expected: int = 80, **changes: Any) -> float:
    found = marks_of(reply_of(text, **changes), request_of(question), expected)
    return dict(zip(MARK_NAMES, found, strict=True))[name]


def test_an_ordinary_answer_bears_next_to_no_mark() -> None:
    found = dict(zip(MARK_NAMES, marks_of(reply_of(PROSE), request_of(QUESTION), 80), strict=True))
    assert {name for name, value in found.items() if abs(value) > 1} == set(), found


def test_length_is_told_beside_what_was_expected() -> None:
    assert abs(mark("length")) < 0.2
    assert mark("length", expected=1_000) < -0.8
    assert mark("length", PROSE * 20) > 1.0
    assert mark("length", "", expected=100_000) == -MARK_MAX
    # A script of more bytes a letter says as much in fewer letters.
    assert mark("length", "光合作用将光转化为糖。" * 10) > mark("length", "a" * 110)


def test_very_short_fades_out_at_sixty_characters() -> None:
    assert mark("very_short", "") == 2.0
    assert 0 < mark("very_short", "Plants make sugar.") < 2.0
    assert mark("very_short", "x" * 60) == mark("very_short") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I'm not sure, but it might be sugar.",
        "I don\u2019t know. Perhaps it is light, perhaps water.",
        "Das ist vielleicht Zucker, vermutlich aber nicht.",
        "Tal vez sea la luz, quizás el agua.",
        "这可能是糖,也可能是光。",  # as it is written
    ],
)
def test_hedging_reacts_to_words_that_take_back(text: str) -> None:
    assert mark("hedging", text) > 1.0


@pytest.mark.parametrize(
    "text", [PROSE, CODE, "Maybelline is a brand.", "He thinks; we know.", f"{PROSE} {PROSE} Perhaps."]
)
def test_hedging_leaves_plain_statements_alone(text: str) -> None:
    assert mark("hedging", text) < 0.6


def test_hedging_is_by_length_also_where_words_have_no_blanks() -> None:
    assert 0 < mark("hedging", "光合作用将光转化为糖。" * 60 + "也许。") < 0.6


@pytest.mark.parametrize(
    "text",
    [
        PROSE[:-20],
        f"{PROSE} There are three kinds:",
        f"{PROSE} It grows,",
        "Here you are:\n```python\nfor each in range(3):\n    pr",
    ],
)
def test_an_end_inside_a_sentence_or_a_block_of_code_is_marked(text: str) -> None:
    assert mark("mid_sentence", text) == 2.0


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        CODE,
        f"**{PROSE}**",
        f"{PROSE[:-1]}\u2026\u201d",
        "The steps are simple:\n\n- take in some light and water\n- make a little sugar",
        "| plant | light it needs in the garden |\n|---|---|\n| fern | little of it in the shade |",
        '{"answer": "sugar", "because": "light and water make it in the leaves"}',
        "Paris",
        "植物利用阳光将二氧化碳和水转化为葡萄糖并释放氧气这就是光合作用的全部过程这里没有句号",
    ],
)
def test_other_ends_are_not(text: str) -> None:
    assert mark("mid_sentence", text) == 0.0


def test_a_block_of_code_whose_end_is_not_read_is_not_taken_for_an_open_one() -> None:
    middle = f"{PROSE} " * 40
    assert mark("mid_sentence", f"{PROSE}\n```\nx = 1\n{middle}\n```\n{middle}") == 0.0


def test_asking_back_is_an_end_in_a_question() -> None:
    assert mark("asks_back", "Which plants do you mean?") == mark("asks_back", "**您指的是哪种植物\uff1f**") == 2.0
    assert mark("asks_back", "Why green? Because chlorophyll reflects it.") == mark("asks_back") == 0.0


def test_repetition_is_what_compresses_far_better_than_prose() -> None:
    assert mark("repetition", "Plants are green. " * 200) > 2.5
    assert mark("repetition") == mark("repetition", "ha " * 20) == 0.0
    book = (Path(__file__).parents[2] / "docs" / "promise.md").read_text(encoding="utf-8")
    assert mark("repetition", book[:4_000]) < 1.0


def test_echo_counts_the_questions_longer_words() -> None:
    assert mark("echo", QUESTION) > 1.5
    assert mark("echo", "Forty-two.") < -1.0
    assert mark("echo", "Yes.", "Is it so?") == 0.0, "a question without words that could be echoed"


def test_digits_are_a_share() -> None:
    assert mark("digits", "42") == MARK_MAX
    assert mark("digits", "1, 2, 3 and 4 of 2026-11-01") > mark("digits", f"{PROSE} In 2026.") > mark("digits") == 0.0


def test_code_that_was_asked_for_and_is_not_there_is_missing() -> None:
    asked = "Write a Python function that adds two numbers."
    assert mark("code_missing", PROSE, asked) == 2.0
    assert mark("code_missing", "It prints 3.", "What does this do?\n```\nprint(1 + 2)\n```") == 2.0
    assert mark("code_missing", CODE, asked) == mark("code_missing", "    return a + b", asked) == 0.0
    assert mark("code_missing", "{(a, b) => { return a[0] + b[0]; }}", asked) == 0.0
    for prose in (QUESTION, "Write a poem about the sea.", "What is the area code of Bonn?"):
        assert mark("code_missing", PROSE, prose) == 0.0


def test_another_script_than_the_questions_is_told_code_aside() -> None:
    chinese, russian = "光合作用是植物利用阳光制造养分的过程这就是全部", RUSSIAN
    assert mark("other_script", chinese) == mark("other_script", russian) == MARK_MAX
    assert mark("other_script", PROSE, "什么是光合作用请简单说明") == MARK_MAX
    assert mark("other_script", chinese, "什么是光合作用") == mark("other_script") == 0.0
    assert mark("other_script", f"{chinese}\n```python\nprint('hello world')\n```", "什么是光合作用") == 0.0
    assert mark("other_script", "42 €", "什么是光合作用") == 0.0
    assert mark("other_script", f"{chinese} {russian}", f"Explain {chinese} and {russian}") == 0.0


def test_how_sure_the_vendor_was_counts_where_it_said_so() -> None:
    assert mark("unsure") == mark("unsure", mean_logprob=0.0) == 0.0
    assert 0 < mark("unsure", mean_logprob=-0.1) < mark("unsure", mean_logprob=-0.7) < MARK_MAX
    assert mark("unsure", mean_logprob=-1e308) == MARK_MAX
    assert mark("unsure", mean_logprob=float("nan")) == 0.0


def test_an_end_at_a_limit_is_cut_off() -> None:
    assert mark("cut_off", finish_reason="length") == 2.0
    assert mark("cut_off") == mark("cut_off", finish_reason="tool_calls") == 0.0


def test_an_answer_by_tool_call_has_no_prose_to_mark() -> None:
    call = reply_of(parts=(Text("I think perhaps"), ToolCall("t1", "weather", "{}")), finish_reason="length")
    found = dict(zip(MARK_NAMES, marks_of(call, request_of(QUESTION), 80), strict=True))
    assert {name for name, value in found.items() if value} == {"cut_off"}


def test_a_long_text_is_read_at_its_head_and_tail_alone() -> None:
    head, tail = PROSE * 20, PROSE * 20
    one, other = (f"{head}{middle * 90_000}{tail}" for middle in ("a? 7 ", "```b,"))
    assert min(len(head), len(tail)) > ANSWER_EDGE_CHARS
    assert marks_of(reply_of(one), request_of(), 80) == marks_of(reply_of(other), request_of(), 80)
    split = reply_of(parts=tuple(Text(one[start : start + 1_000]) for start in range(0, len(one), 1_000)))
    assert marks_of(split, request_of(), 80) == marks_of(reply_of(one), request_of(), 80)
    asked = f"{QUESTION * 40}{'_' * 10_000}{QUESTION * 40}"
    assert len(QUESTION * 40) > QUESTION_EDGE_CHARS
    assert mark("echo", PROSE, asked) == mark("echo", PROSE, asked.replace("_", "photosynthesis "))


def test_time_is_bounded_however_long_the_answer() -> None:
    made = [reply_of(each) for each in ("a? " * 10_000_000, "```" * 1_000_000, "\u4e00" * 5_000_000, "x" * 20_000_000)]
    started = time.perf_counter()
    for each in made:
        marks_of(each, request_of(), 80)
    assert time.perf_counter() - started < 1.0


texts = st.text(max_size=400) | st.text(alphabet="`?.:,- \n1a中\ud800", max_size=200)


@settings(max_examples=300, deadline=None)
@given(
    texts,
    st.text(max_size=400),
    st.floats() | st.none(),
    st.integers(0, 10**9),
    st.sampled_from(["stop", "length", "tool_calls"]),
)
def test_any_answer_has_its_marks_within_bounds(
    text: str, question: str, logprob: float | None, expected: int, finish: Any
) -> None:
    reply = reply_of(text, mean_logprob=logprob, finish_reason=finish)
    found = marks_of(reply, request_of(question), expected)
    assert len(found) == len(MARK_NAMES)
    assert all(isinstance(value, float) and -MARK_MAX <= value <= MARK_MAX for value in found)
    assert found == marks_of(reply, request_of(question), expected)


def test_what_a_mark_means_stays() -> None:
    # Lines of the ledger hold these numbers: a rule that changes needs a mark of another name.
    found = marks_of(reply_of(f"{PROSE} I think so: 12", mean_logprob=-0.2), request_of(QUESTION), 120)
    assert found == pytest.approx(WRITTEN, abs=0.05)


WRITTEN = (-0.208, 0.0, 0.633, 2.0, 0.0, 0.0, -0.457, 0.028, 0.0, 0.0, 0.6, 0.0)
