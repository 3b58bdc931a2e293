from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT, READ_BYTES_MAX, PromptView, features_of
from router.features.structure import FOLLOW_UP_BYTES_MAX, is_follow_up, scored_text_of

PLAIN = b"tell me about the river and the hills around it please"


def of(text: bytes, **others: object) -> dict[str, float]:
    return features_of(PromptView(question=text, **others)).as_dict()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("feature", "more", "less"),
    [
        ("log_bytes", PLAIN + PLAIN, PLAIN),
        ("log_words", PLAIN + b" again", PLAIN),
        ("log_lines", b"one\ntwo\nthree", b"one two three"),
        ("log_sentences", b"One. Two. Three.", b"One, two, three."),
        ("share_letters", b"letters", b"12 34 56"),
        ("share_capitals", b"SHOUTED WORDS", b"shouted words"),
        ("share_digits", b"12345 cats", b"five cats"),
        ("share_spaces", b"a b c d", b"abcd"),
        ("share_newlines", b"a\nb\nc", b"a b c"),
        ("share_sentence_ends", b"Go. Stop.", b"Go, stop"),
        ("share_questions", b"why? how?", b"why. how."),
        ("share_commas", b"a, b, c", b"a b c"),
        ("share_operators", b"a + b = c", b"a and b is c"),
        ("share_brackets", b"f(x)[0]", b"f of x at 0"),
        ("share_tex", b"\\frac{1}{2} $x^2$", b"half and x squared"),
        ("share_code_marks", b"{a; b;}", b"a and b"),
        ("share_quotes", b"'a' \"b\"", b"a b"),
        ("share_bars", b"|a|b|", b"a b"),
        ("share_not_ascii", "größe".encode(), b"groesse"),
        ("share_control", b"\x00\x01 a", b"a b"),
        ("word_bytes_mean", b"extraordinarily", b"a b c"),
        ("share_long_words", b"extraordinarily long", b"very long"),
        ("share_short_words", b"a bc def", b"lengthy wordings"),
        ("share_distinct_words", b"one two three", b"one one one"),
        ("log_numbers", b"1 2 3 4", b"one two"),
        ("log_choices", b"Which?\nA. red\nB. blue", b"Which? red or blue"),
        ("line_bytes_log", PLAIN, PLAIN.replace(b" ", b"\n")),
        ("question_at_end", b"Say why?", b"Why? Say it in a letter to all of the people that you have ever met there."),
        ("words_maths", b"integral of a polynomial", PLAIN),
        ("words_everyday_numbers", b"how many dollars per week", b"integral"),
        ("words_code", b"python function with a variable", PLAIN),
        ("words_logic", b"premise and conclusion", PLAIN),
        ("words_science", b"electron energy", PLAIN),
        ("words_medicine", b"patient symptoms", PLAIN),
        ("words_law", b"the plaintiff in court", PLAIN),
        ("words_society", b"government and war", PLAIN),
        ("words_writing", b"write a poem", b"integral"),
        ("words_reasoning", b"why because therefore", PLAIN),
        ("words_lookup", b"who invented it where", b"integral"),
        ("words_design", b"distributed architecture", PLAIN),
    ],
)
def test_a_feature_rises_with_what_it_is_named_for(feature: str, more: bytes, less: bytes) -> None:
    assert of(more)[feature] > of(less)[feature]


@pytest.mark.parametrize(
    ("feature", "others"),
    [
        ("log_system_bytes", {"system": b"You are terse."}),
        ("log_history_bytes", {"history": PLAIN}),
        ("log_turns", {"n_turns": 4}),
        ("log_messages", {"n_messages": 9}),
        ("log_tools", {"n_tools": 2}),
        ("log_tool_schema_bytes", {"tool_schema_bytes": 400}),
        ("log_tool_results", {"n_tool_results": 1}),
        ("log_images", {"n_images": 1}),
        ("has_response_schema", {"has_response_schema": True}),
        ("log_input_bytes", {"input_bytes": 9_000}),
    ],
)
def test_a_fact_of_the_request_moves_its_own_feature_and_nothing_that_the_network_reads(
    feature: str, others: dict[str, object]
) -> None:
    long_question = PLAIN * 2
    plain, told = (
        features_of(PromptView(question=long_question)),
        features_of(
            PromptView(question=long_question, **others)  # type: ignore[arg-type]
        ),
    )
    assert told.as_dict()[feature] > plain.as_dict()[feature]
    changed = {name for name in FEATURE_NAMES if told.as_dict()[name] != plain.as_dict()[name]}
    assert changed == {feature}
    assert FEATURE_NAMES.index(feature) >= NETWORK_FEATURE_COUNT


def test_lines_and_choices_of_the_prompt_alone_are_counted() -> None:
    """The separators that reading puts around a text are no part of it."""
    assert of(b"word")["share_newlines"] == 0
    assert of(b"word")["log_lines"] == pytest.approx(np.log(2), abs=1e-6)
    assert of(b"A plan for B and C")["log_choices"] == 0
    assert of(b"(A) (B) (C)")["log_choices"] == pytest.approx(np.log(4), abs=1e-6)


def test_images_and_tools_are_told_from_their_counts() -> None:
    assert features_of(PromptView(question=PLAIN, n_images=1)).has_images
    assert features_of(PromptView(question=PLAIN, n_tools=1)).has_tools
    assert features_of(PromptView(question=PLAIN, n_tool_results=1)).has_tools
    plain = features_of(PromptView(question=PLAIN))
    assert not plain.has_images
    assert not plain.has_tools


def test_a_short_follow_up_is_scored_with_what_came_before_and_a_long_one_alone() -> None:
    history = b"Prove that the integral of x squared converges."
    short = PromptView(question=b"ok continue", history=history)
    assert is_follow_up(short)
    assert scored_text_of(short) == history + b"\nok continue"
    assert features_of(short).as_dict()["words_maths"] > of(b"ok continue")["words_maths"]
    long = PromptView(question=b"x" * (FOLLOW_UP_BYTES_MAX + 1), history=history)
    assert not is_follow_up(long)
    assert scored_text_of(long) == long.question
    assert not is_follow_up(PromptView(question=b"hi"))


def test_a_long_history_is_read_at_both_ends() -> None:
    view = PromptView(question=b"and then?", history=b"first " + b"x" * 9_000 + b" last")
    text = scored_text_of(view)
    assert len(text) < 4_200
    assert text.startswith(b"first ")
    assert text.endswith(b" last\nand then?")


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 3))
def test_no_bytes_can_make_it_fail_or_give_what_is_no_number(question: bytes, history: bytes, images: int) -> None:
    found = features_of(PromptView(question=question, history=history, n_images=images))
    assert np.isfinite(found.structure).all()
    assert len(found.hashed) == max(0, 2 * found.n_words - 1)


def test_a_million_characters_cost_no_more_than_the_window() -> None:
    found = features_of(PromptView(question=b"word " * 200_000))
    assert found.n_words <= READ_BYTES_MAX // 4
    assert found.as_dict()["log_bytes"] == pytest.approx(np.log1p(1_000_000), abs=1e-4)


def test_the_same_prompt_gives_the_same_numbers() -> None:
    first, second = (features_of(PromptView(question=PLAIN)) for _ in range(2))
    assert first.structure.tobytes() == second.structure.tobytes()
    assert first.hashed.tobytes() == second.hashed.tobytes()
