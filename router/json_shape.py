"""Whether a JSON value has the shape that a JSON Schema asks for, as far as the schema is certain.

Only keywords whose meaning leaves no doubt are looked at (types, ``enum``, ``const``, ``required``, ``properties``,
``additionalProperties: false``, items, counts, ``anyOf``, ``allOf`` and local ``$ref``); every other keyword passes.
So a value that is called wrong is wrong, and one that passes may still be.
"""

from __future__ import annotations

from collections.abc import Mapping

DEPTH_MAX = 64
"""A schema may refer to itself: below this depth everything passes."""

STEPS_MAX = 20_000
"""And to itself twice, which doubles the work at each depth: where one question takes more steps, everything passes.

A step is what takes a few microseconds: one schema applied to one value, or a few names or bytes looked at.
"""

STEP_CHARS = 4_096
STEP_NAMES = 4

Schema = Mapping[str, object]


class _NoStepsLeftError(Exception):
    """The schema asks for more work than an answer is worth."""


def fits_shape(value: object, schema: Schema) -> bool:
    """Whether the decoded JSON ``value`` fits the schema. Raises nothing: what is no schema says nothing.

    Takes about a tenth of a second at the most, whatever the two hold.
    """
    try:
        return _Walk(schema).fits(value, schema, 0)
    except _NoStepsLeftError:
        return True


class _Walk:
    """One question: the schema that references are looked up in, and the steps that are left."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = STEPS_MAX

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _NoStepsLeftError

    def fits(self, value: object, schema: object, depth: int) -> bool:
        self._take(1)
        if schema is False:
            return False
        if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
            return True
        target = schema.get("$ref")
        if isinstance(target, str) and not self.fits(value, self._referred(target), depth + 1):
            return False
        return (
            self._has_type(value, schema)
            and self._is_among(value, schema)
            and self._meets_combined(value, schema, depth)
            and self._meets_object(value, schema, depth)
            and self._meets_array(value, schema, depth)
        )

    def _referred(self, target: str) -> object:
        """What a local reference names; True, which everything fits, where it names nothing here."""
        self._take(len(target) // STEP_NAMES)
        if not target.startswith("#"):
            return True
        found: object = self._root
        for step in target[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name, True) if isinstance(found, Mapping) else True
        return found

    def _has_type(self, value: object, schema: Schema) -> bool:
        wanted = schema.get("type")
        if isinstance(wanted, str):
            return _is_of_type(value, wanted)
        if not isinstance(wanted, list):
            return True
        self._take(len(wanted) // STEP_NAMES)
        return any(_is_of_type(value, each) for each in wanted)

    def _is_among(self, value: object, schema: Schema) -> bool:
        options = schema.get("enum")
        if isinstance(options, list) and not any(self._is_equal(value, each, 0) for each in options):
            return False
        return "const" not in schema or self._is_equal(value, schema["const"], 0)

    def _is_equal(self, value: object, other: object, depth: int) -> bool:
        """Equal as JSON: Python alone takes true for 1."""
        self._take(1)
        if depth > DEPTH_MAX:
            return True
        if isinstance(value, dict) and isinstance(other, dict):
            return len(value) == len(other) and all(
                name in other and self._is_equal(each, other[name], depth + 1) for name, each in value.items()
            )
        if isinstance(value, list) and isinstance(other, list):
            return len(value) == len(other) and all(
                self._is_equal(each, its, depth + 1) for each, its in zip(value, other, strict=True)
            )
        if isinstance(value, str) and isinstance(other, str):
            self._take(len(value) // STEP_CHARS)
        return isinstance(value, bool) is isinstance(other, bool) and value == other

    def _meets_combined(self, value: object, schema: Schema, depth: int) -> bool:
        every, some = schema.get("allOf"), schema.get("anyOf")
        if isinstance(every, list) and not all(self.fits(value, each, depth + 1) for each in every):
            return False
        return not isinstance(some, list) or any(self.fits(value, each, depth + 1) for each in some)

    def _meets_object(self, value: object, schema: Schema, depth: int) -> bool:
        if not isinstance(value, dict):
            return True
        required, known = schema.get("required"), schema.get("properties")
        if isinstance(required, list):
            self._take(len(required) // STEP_NAMES)
            if not all(name in value for name in required if isinstance(name, str)):
                return False
        known = known if isinstance(known, Mapping) else {}
        self._take(len(known) // STEP_NAMES)
        if not all(self.fits(value[name], each, depth + 1) for name, each in known.items() if name in value):
            return False
        others = schema.get("additionalProperties")
        if others is None or others is True or "patternProperties" in schema:
            return True
        self._take(len(value) // STEP_NAMES)
        return all(self.fits(value[name], others, depth + 1) for name in value if name not in known)

    def _meets_array(self, value: object, schema: Schema, depth: int) -> bool:
        if not isinstance(value, list):
            return True
        least, most = schema.get("minItems"), schema.get("maxItems")
        if isinstance(least, int) and len(value) < least:
            return False
        if isinstance(most, int) and len(value) > most:
            return False
        items = schema.get("items")
        if "prefixItems" in schema or not (items is False or isinstance(items, Mapping)):
            return True
        return all(self.fits(each, items, depth + 1) for each in value)


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
