from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from router import json_shape
from router.json_shape import fits_shape

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}, "tags": {"$ref": "#/$defs/tags"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 2}},
}
NODE: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}


@pytest.mark.parametrize("value", [{"name": "x"}, {"name": "x", "age": None}, {"name": "x", "age": 3, "tags": ["a"]}])
def test_what_fits_fits(value: Any) -> None:
    assert fits_shape(value, PERSON)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"name": 3},
        {"name": "x", "age": 1.5},
        {"name": "x", "age": True},
        {"name": "x", "more": 1},
        {"name": "x", "tags": []},
        {"name": "x", "tags": ["a", "b", "a"]},
        {"name": "x", "tags": ["c"]},
    ],
)
def test_what_does_not_fit_does_not(value: Any) -> None:
    assert not fits_shape(value, PERSON)


def test_a_schema_that_refers_to_itself_is_followed_and_ends() -> None:
    assert fits_shape({"next": {"next": {"n": 1}}}, NODE)
    assert not fits_shape({"next": {"next": {"n": "1"}}}, NODE)
    assert fits_shape(1, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^a"},
        {"not": {}},
        {"if": {}, "then": False},
        {"$ref": "http://elsewhere/x"},
        {"$ref": "#/$defs/missing"},
        {"type": 7},
        {"items": [{"type": "string"}]},
        {"required": [["name"]]},
        {"prefixItems": [{"type": "string"}], "items": False},
    ],
)
def test_what_is_not_certain_passes(schema: dict[str, Any]) -> None:
    assert all(fits_shape(value, schema) for value in (1, "b", [1], {"x": 1}))


def test_true_is_not_one() -> None:
    assert not fits_shape(True, {"enum": [1]})
    assert not fits_shape(1, {"const": True})
    assert fits_shape(1.0, {"type": "integer"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]) | st.sampled_from([0.5, 1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries({}, optional={"type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True)}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "minItems": st.integers(0, 2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "enum": st.lists(st.integers(-1, 1) | st.sampled_from(["a", ""]), min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)


@given(VALUES, SCHEMAS)
def test_for_the_keywords_that_it_knows_it_agrees_with_the_reference(value: Any, schema: dict[str, Any]) -> None:
    assert fits_shape(json.loads(json.dumps(value)), schema) == Draft202012Validator(schema).is_valid(value)


TWICE: dict[str, Any] = {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}
FANNED: dict[str, Any] = {
    "$ref": "#/$defs/n0",
    "$defs": {f"n{n}": {"allOf": [{"$ref": f"#/$defs/n{n + 1}"}] * 8} for n in range(30)},
}
FAR: dict[str, Any] = {"allOf": [{"$ref": "#" + "/a" * 200_000}] * 10_000}
LARGE = {"rows": [{"id": number, "name": "x" * 20} for number in range(2_000)]}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({}, TWICE),
        ({}, {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "string"}]}),
        ({}, FANNED),
        (1, FAR),
        (LARGE, {"enum": [{**LARGE, "more": 1}, [LARGE]] * 5_000, "anyOf": [{"const": LARGE}] * 1_000}),
        ([0] * 1_000_000, {"items": {"type": "integer"}, "allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        ({"a": 1}, {"allOf": [{"required": ["a"] * 100_000, "type": ["x"] * 100_000 + ["object"]}] * 1_000}),
        (dict.fromkeys(map(str, range(100_000))), {"allOf": [{"additionalProperties": {}}] * 1_000}),
    ],
    ids=["twice", "any", "fanned", "far", "large", "many", "names", "others"],
)
def test_no_question_takes_more_than_a_bounded_number_of_calls(value: object, schema: dict[str, Any]) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 100 * json_shape.STEPS_MAX:
            sys.setprofile(None)
            raise AssertionError(calls)

    sys.setprofile(count)
    try:
        fits_shape(value, schema)
    finally:
        sys.setprofile(None)


def test_long_texts_that_are_compared_count_for_more_than_short_ones() -> None:
    text, other = "x" * 1_000_000, "x" * 999_999 + "y"
    # Each comparison is quick and says no; a hundred thousand of them would be a minute.
    assert not fits_shape(text, {"enum": [other] * 50})
    assert fits_shape(text, {"enum": [other] * 100_000})


def test_a_question_that_takes_too_long_says_nothing() -> None:
    slow = {"allOf": [{"$ref": "#/$defs/slow"}] * 2}
    wrong = {"allOf": [{"$ref": "#/$defs/slow"}, {"type": "string"}], "$defs": {"slow": slow}}
    assert fits_shape(1, wrong)
    assert not fits_shape(1, {"allOf": [{"type": "string"}, {"$ref": "#"}, {"$ref": "#"}]})


def test_long_answers_are_still_looked_at_in_whole() -> None:
    schema = {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    rows: list[Any] = [{"n": number} for number in range(9_000)]
    assert fits_shape(rows, schema)
    assert not fits_shape([*rows, {"n": "x"}], schema)


@pytest.mark.parametrize(("value", "other"), [([True], [1]), ({"a": 1}, {"a": True}), ([1], [1, 2]), ({"a": 1}, {})])
def test_what_differs_inside_differs(value: object, other: object) -> None:
    assert not fits_shape(value, {"const": other})
    assert fits_shape(value, {"enum": [other, value]})
