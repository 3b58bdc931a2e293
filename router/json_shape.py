"""Whether a JSON value has the shape that a JSON Schema asks for, as far as the schema is certain.

Only keywords whose meaning leaves no doubt are looked at (types, ``enum``, ``const``, ``required``, ``properties``,
``additionalProperties: false``, items, counts, ``anyOf``, ``allOf`` and local ``$ref``); every other keyword passes.
So a value that is called wrong is wrong, and one that passes may still be.
"""

from __future__ import annotations

from collections.abc import Mapping

DEPTH_MAX = 64
"""A schema may refer to itself: below this depth everything passes."""

Schema = Mapping[str, object]


def fits_shape(value: object, schema: Schema) -> bool:
    """Whether the decoded JSON ``value`` fits the schema. Raises nothing: what is no schema says nothing."""
    return _fits(value, schema, schema, 0)


def _fits(value: object, schema: object, root: Schema, depth: int) -> bool:
    if schema is False:
        return False
    if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
        return True
    target = schema.get("$ref")
    if isinstance(target, str) and not _fits(value, _referred(target, root), root, depth + 1):
        return False
    return (
        _has_type(value, schema)
        and _is_among(value, schema)
        and _meets_combined(value, schema, root, depth)
        and _meets_object(value, schema, root, depth)
        and _meets_array(value, schema, root, depth)
    )


def _referred(target: str, root: Schema) -> object:
    """What a local reference names; True, which everything fits, where it names nothing here."""
    if not target.startswith("#"):
        return True
    found: object = root
    for step in target[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name, True) if isinstance(found, Mapping) else True
    return found


def _is_of_type(value: object, name: object) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, int):
        return name in ("integer", "number")
    if isinstance(value, float):
        return name == "number" or (name == "integer" and value.is_integer())
    if value is None:
        return name == "null"
    kinds = {"string": str, "object": dict, "array": list}
    kind = kinds.get(name) if isinstance(name, str) else None
    return kind is not None and isinstance(value, kind)


def _has_type(value: object, schema: Schema) -> bool:
    wanted = schema.get("type")
    if isinstance(wanted, str):
        return _is_of_type(value, wanted)
    return not isinstance(wanted, list) or any(_is_of_type(value, each) for each in wanted)


def _is_among(value: object, schema: Schema) -> bool:
    options = schema.get("enum")
    if isinstance(options, list) and not any(_is_equal(value, each) for each in options):
        return False
    return "const" not in schema or _is_equal(value, schema["const"])


def _is_equal(value: object, other: object) -> bool:
    """Equal as JSON: Python alone takes true for 1."""
    return isinstance(value, bool) is isinstance(other, bool) and value == other


def _meets_combined(value: object, schema: Schema, root: Schema, depth: int) -> bool:
    every, some = schema.get("allOf"), schema.get("anyOf")
    if isinstance(every, list) and not all(_fits(value, each, root, depth + 1) for each in every):
        return False
    return not isinstance(some, list) or any(_fits(value, each, root, depth + 1) for each in some)


def _meets_object(value: object, schema: Schema, root: Schema, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    required, known = schema.get("required"), schema.get("properties")
    if isinstance(required, list) and not all(name in value for name in required if isinstance(name, str)):
        return False
    known = known if isinstance(known, Mapping) else {}
    if not all(_fits(value[name], each, root, depth + 1) for name, each in known.items() if name in value):
        return False
    others = schema.get("additionalProperties")
    if others is None or "patternProperties" in schema:
        return True
    return all(_fits(value[name], others, root, depth + 1) for name in value if name not in known)


def _meets_array(value: object, schema: Schema, root: Schema, depth: int) -> bool:
    if not isinstance(value, list):
        return True
    least, most = schema.get("minItems"), schema.get("maxItems")
    if isinstance(least, int) and len(value) < least:
        return False
    if isinstance(most, int) and len(value) > most:
        return False
    if "prefixItems" in schema:
        return True
    return all(_fits(each, schema.get("items"), root, depth + 1) for each in value)
