from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

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
