"""JSON Schemas as Anthropic's structured output takes them.

It compiles the schema into a grammar and refuses what a grammar cannot hold (docs: Structured outputs, JSON Schema
limitations): bounds of numbers, strings and arrays, open objects, conditionals. Each is told to the model in words
instead, in the description of the very value that it bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength"),
    *("minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems"),
    *("minProperties", "maxProperties", "patternProperties", "propertyNames"),
    *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems"),
    *("if", "then", "else", "not"),
)
SCHEMAS_BY_NAME = ("properties", "$defs", "definitions")
DEPTH_MAX = 64


def output_schema_of(schema: Mapping[str, object]) -> dict[str, object]:
    """The nearest schema that is accepted: objects closed, bounds in words, `oneOf` as `anyOf`."""
    return _schema(schema, 0)


def _schema(schema: Mapping[str, object], depth: int) -> dict[str, object]:
    if depth > DEPTH_MAX:
        return {}
    found: dict[str, object] = {}
    alternatives: list[object] = []
    for name, value in schema.items():
        if name in REFUSED:
            continue
        if name in SCHEMAS_BY_NAME and isinstance(value, dict):
            found[name] = {key: _inner(each, depth) for key, each in value.items()}
        elif name == "items":
            found[name] = _inner(value, depth)
        elif name == "allOf" and isinstance(value, list):
            found[name] = [_inner(each, depth) for each in value]
        elif name in ("anyOf", "oneOf") and isinstance(value, list):
            alternatives += [_inner(each, depth) for each in value]
        else:
            found[name] = value
    if alternatives:
        found["anyOf"] = alternatives
    kinds = found.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        found["additionalProperties"] = False
    told = [
        f"{name} {orjson.dumps(schema[name]).decode()}"
        for name in REFUSED
        if schema.get(name) is not None and schema[name] is not False
    ]
    if told:
        about = schema.get("description")
        found["description"] = f"{about} ({', '.join(told)})" if isinstance(about, str) else ", ".join(told)
    return found


def _inner(value: object, depth: int) -> object:
    return _schema(value, depth + 1) if isinstance(value, dict) else value
