"""Two answers say the same or not, by what they come to and never by their words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.agreement import agree, said_by
from router.chat import Text, ToolCall
from tests.router.scripted import reply_of

LONG = "First we look at the sides of the triangle, and then at the angle between the two longer ones of them. "


def call(arguments: str, name: str = "find") -> ToolCall:
    return ToolCall("c1", name, arguments)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "paris"),
        ("**Paris**", "Paris"),
        ("1,234.50", "$1234.5"),
        ("(B)", "B."),
        (f"{LONG}\nThe answer is (B).", f"{LONG * 3}\nSo the correct option is B"),
        (f"{LONG}Answer: 42", f"{LONG}\nFinal answer: 42.0"),
        (f"{LONG}\n\\boxed{{17}}", f"{LONG * 2} therefore \\boxed{{17}} as claimed."),
        (
            f"{LONG}\nSo she pays 7 dollars in the end, and no more than that.",
            f"{LONG}\nThat makes 7 dollars altogether for the two.",
        ),
        ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1}'),
    ],
)
def test_the_same_said_otherwise(one: str, other: str) -> None:
    assert said_by(reply_of(one)) is not None
    assert agree(reply_of(one), reply_of(other))
    assert agree(reply_of(other), reply_of(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "Lyon."),
        ("yes", "no"),
        ("41", "42"),
        (f"{LONG}\nThe answer is (B).", f"{LONG}\nThe answer is (C)."),
        (f"{LONG}Answer: 42", f"{LONG}Answer: 43"),
        (
            f"{LONG}\nSo she pays 7 dollars in the end, and no more than that.",
            f"{LONG}\nThat makes 8 dollars altogether for the two.",
        ),
        ('{"a": 1}', '{"a": 2}'),
        ("-3", "3"),
    ],
)
def test_something_else(one: str, other: str) -> None:
    assert not agree(reply_of(one), reply_of(other))


def test_calls_are_compared_by_name_and_arguments_whatever_their_order_and_spacing() -> None:
    first = reply_of(parts=(call('{"q": "x", "n": 2}'), call("{}", "list")))
    same = reply_of(parts=(call("{}", "list"), call('{"n":2,"q":"x"}')))
    assert agree(first, same)
    assert not agree(first, reply_of(parts=(call('{"q": "y", "n": 2}'), call("{}", "list"))))
    assert not agree(first, reply_of("I would look it up."))
    assert not agree(reply_of(parts=(call("{oh"),)), reply_of(parts=(call("{"),)))


def test_nothing_is_said_of_prose() -> None:
    prose, other = f"{LONG}It is a matter of taste.", f"{LONG}Opinions differ widely, and so they should."
    assert said_by(reply_of(prose)) is None
    assert agree(reply_of(prose), reply_of(other))
    assert agree(reply_of(prose), reply_of("42"))
    assert said_by(reply_of(f"{LONG}\nBetween 3 and 4 of them came, as far as anybody could tell afterwards.")) is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_it_is_symmetric_and_never_fails(one: str, other: str) -> None:
    first: Any = reply_of(parts=(Text(one),))
    second: Any = reply_of(parts=(Text(other),))
    assert agree(first, first)
    assert agree(first, second) is agree(second, first)
