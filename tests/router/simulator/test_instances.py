from __future__ import annotations

from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.simulator.instances import instance_of


def whole(low: int, span: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": low + span}


def real(low: int, span: int) -> dict[str, Any]:
    return {"type": "number", "exclusiveMinimum": low, "maximum": low + span}


def text(low: int, span: int) -> dict[str, Any]:
    return {"type": "string", "minLength": low, "maxLength": low + span}


def closed(fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


NODE = closed(
    {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}, "id": {"type": "integer"}}, ["next", "id"]
)
LEFT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
RIGHT = {"properties": {"b": {"const": 3}}, "required": ["b"]}

leaves = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, span: {"type": "number", "exclusiveMinimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(1, 9),
    ),
    st.builds(
        lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4)),
    st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 7)),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.text(alphabet="abcdef_", min_size=1, max_size=6)
    objects = st.dictionaries(names, inner, max_size=4).flatmap(
        lambda fields: st.builds(
            lambda required: closed(fields, required),
            st.lists(st.sampled_from(sorted(fields)), unique=True) if fields else st.just([]),
        )
    )
    arrays = st.builds(
        lambda items, low, span: {"type": "array", "items": items, "minItems": low, "maxItems": low + span},
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    return objects | arrays | st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))


@given(st.recursive(leaves, grown, max_leaves=8), st.integers(0, 2**32))
def test_a_drawn_value_satisfies_its_schema(schema: dict[str, Any], seed: int) -> None:
    value = instance_of(schema, Random(seed))
    jsonschema.Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
        {"allOf": [LEFT, RIGHT]},
        {"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"},
        {"type": ["string", "null"]},
        {"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": True, "minItems": 2},
        {"type": "object", "required": ["free"], "minProperties": 3},
        {"type": "string", "format": "date-time"},
    ],
)
def test_the_shapes_people_write(schema: dict[str, Any]) -> None:
    for seed in range(20):
        jsonschema.Draft202012Validator(schema).validate(instance_of(schema, Random(seed)))


def test_geminis_upper_case_types_are_understood() -> None:
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}
    assert isinstance(instance_of(schema, Random(1))["n"], int)


def test_places_come_from_the_question() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert instance_of(schema, Random(3), "What is the weather in Ljubljana?") == {"city": "Ljubljana"}
