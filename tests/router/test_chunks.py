"""What counts as retrieved context, and what never does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Image, Message, Text, ToolCall, ToolResult
from router.chunks import around, chunks_of, spans_of, without


def found_in(text: str) -> list[str]:
    return [text[start:end] for start, end in spans_of(text)]


def test_elements_of_document_tags_are_chunks_and_what_stands_around_them_is_not() -> None:
    text = 'Read these.\n<document id="1">A\n\nstory.</document>\n<Source>Another.</Source>\nWhat happened?'
    assert found_in(text) == ['<document id="1">A\n\nstory.</document>', "<Source>Another.</Source>"]


def test_of_nested_tags_the_innermost_are_chunks() -> None:
    text = "<context><doc>one</doc><doc>two</doc></context> Which?"
    assert found_in(text) == ["<doc>one</doc>", "<doc>two</doc>"]


@pytest.mark.parametrize(
    "text",
    [
        "<document>never closed. What now?",
        "What does </document> mean in XML?",
        "<document>a</passage> crossed",
        "if a <result and b> c: print('</result')",
        "A plain question.\n\nWith a second paragraph.",
        "[1] is the only source that I cite.",
        "Context: none. Say hello.",
    ],
)
def test_what_only_looks_like_it_is_none(text: str) -> None:
    assert found_in(text) == []


def test_numbered_sources_reach_from_one_to_the_next_and_the_last_to_a_blank_line() -> None:
    text = "Answer from these:\n[1] First.\nMore of it.\n\n[2] Second.\n[3] Third.\nEnds.\n\nWho is second?"
    assert found_in(text) == ["[1] First.\nMore of it.\n\n", "[2] Second.\n", "[3] Third.\nEnds."]
    assert found_in("Source 1: a\nSource 2: b\nQuestion: which?") == ["Source 1: a\n", "Source 2: b\n"]


def test_paragraphs_that_a_line_announces_are_chunks_up_to_the_question() -> None:
    text = "Use the following pieces of context to answer.\n\nOne.\n\nTwo\nlines.\n\nQuestion: which?\nHelpful answer:"
    assert found_in(text) == ["One.", "Two\nlines."]
    assert found_in("Context:\n\nOne.\n\nTwo.\n\nWhich is it?") == ["One.", "Two."]


def test_parts_between_the_first_and_the_last_are_chunks_where_there_are_four() -> None:
    texts = [Text(word) for word in ("Look:", "a story", "another", "Which is sad?")]
    assert [chunk.part for chunk in chunks_of([Message("user", tuple(texts))])] == [1, 2]
    assert chunks_of([Message("user", tuple(texts[:3]))]) == []


def test_only_what_a_user_wrote_is_looked_at_and_no_turn_is_emptied() -> None:
    text = "<doc>a</doc><doc>b</doc>"
    tool = Message("tool", (ToolResult("c", (Text(text),)),))
    others = [Message("system", (Text(text),)), Message("assistant", (Text(text), ToolCall("c", "f", "{}"))), tool]
    assert chunks_of(others) == []
    assert len(chunks_of([Message("user", (Text(text),))])) == 1, "the last one is the user's own word"
    assert len(chunks_of([Message("user", (Text(text), Text("Which?"), Image(url="https://x.y/z.png")))])) == 2


WORDS = st.sampled_from(
    ["<doc>", "</doc>", "<context>", "</context>", "[1] ", "[2] ", "\n", "\n\n", "Context:", "Question:", "a", " ", "é"]
)


@given(st.lists(WORDS, max_size=60).map("".join))
def test_chunks_are_in_order_apart_and_within_the_text(text: str) -> None:
    spans = spans_of(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    message = Message("user", (Text(text),))
    chunks = chunks_of([message])
    if chunks:
        assert around(message, chunks).strip()


@given(st.text(alphabet="ab \n", max_size=60), st.data())
def test_without_keeps_everything_else(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    kept = without(text, spans)
    outside = [char for at, char in enumerate(text) if not any(start <= at < end for start, end in spans)]
    assert [char for char in kept if not char.isspace()] == [char for char in outside if not char.isspace()]
    assert without(text, []) == text
