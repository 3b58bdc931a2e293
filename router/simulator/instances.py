"""A JSON value that satisfies a JSON Schema: for tool arguments and structured answers.

Covers what vendors accept in tool and output schemas: types (also Gemini's upper-case ones), enum, const, properties,
required, items, prefixItems, bounds, formats, anyOf / oneOf / allOf, local `$ref`, nullable. A `pattern` is satisfied
only for the simple shapes people put into tool schemas.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from random import Random

JsonSchema: TypeAlias = dict[str, Any]

DEPTH_MAX = 12
_NAMES = ("Ada", "Ravi", "Mina", "Jonas", "Leila", "Tomas", "Yuki", "Carla")
_CITIES = ("Paris", "Lisbon", "Osaka", "Nairobi", "Oslo", "Lima", "Toronto", "Pune")
_NOUNS = ("report", "summary", "invoice", "release", "garden", "harbour", "signal", "meeting", "recipe", "ledger")
_CAPITALISED = re.compile(r"\b[A-Z][a-z]{2,20}\b")
_PATTERN_PART = re.compile(r"(\\d|\[[^\]]+\]|[A-Za-z0-9_ :/@-])(?:\{(\d+)(?:,\d*)?\}|([+*?]))?")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def instance_of(schema: JsonSchema, draw: Random, question: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """A value of the schema, drawn with ``draw``; names and places may be taken from the question."""
    return _Maker(schema, draw, question).value(schema, "", 0)


class _Maker:
    def __init__(self, root: JsonSchema, draw: Random, question: str) -> None:
        self._root = root
        self._draw = draw
        self._proper = _CAPITALISED.findall(question[-400:])[1:]

    def value(self, schema: object, name: str, depth: int) -> Any:  # noqa: ANN401
        if not isinstance(schema, dict):
            return self._word(name)
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._draw.choice(schema["enum"])
        kind = self._kind(schema, depth)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind == "integer":
            return self._number(schema, whole=True)
        if kind == "number":
            return self._number(schema, whole=False)
        if kind == "boolean":
            return self._draw.random() < 0.5  # noqa: PLR2004
        return None if kind == "null" else self._string(schema, name)

    def _resolved(self, schema: JsonSchema, depth: int) -> JsonSchema:
        """The schema with `$ref`, `allOf` and one branch of `anyOf` / `oneOf` merged in."""
        for _ in range(DEPTH_MAX):
            if isinstance(schema.get("$ref"), str):
                target: Any = self._root
                for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
                    target = target.get(part, {}) if part and isinstance(target, dict) else target
                schema = {**(target if isinstance(target, dict) else {}), **_without(schema, "$ref")}
            elif isinstance(schema.get("allOf"), list):
                merged: JsonSchema = {}
                for branch in schema["allOf"]:
                    merged = _merged(merged, self._resolved(branch, depth) if isinstance(branch, dict) else {})
                schema = _merged(merged, _without(schema, "allOf"))
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                schema = _merged(self._branch(branches, depth), _without(schema, "anyOf", "oneOf"))
            else:
                break
        return schema

    def _branch(self, branches: list[Any], depth: int) -> JsonSchema:
        usable = [b for b in branches if isinstance(b, dict)]
        plain = [b for b in usable if b.get("type") in ("null", "NULL")]
        if plain and depth >= DEPTH_MAX // 2:
            return plain[0]
        rich = [b for b in usable if b.get("type") not in ("null", "NULL")]
        chosen: JsonSchema = self._draw.choice(rich or usable or [{}])
        return chosen

    def _kind(self, schema: JsonSchema, depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [k for k in kind if k != "null"] or ["null"]
            kind = "null" if "null" in kind and depth >= DEPTH_MAX // 2 else self._draw.choice(kinds)
        if isinstance(kind, str):
            return kind.lower()
        return "object" if "properties" in schema else "array" if "items" in schema else "string"

    def _object(self, schema: JsonSchema, depth: int) -> Any:  # noqa: ANN401
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = [key for key in schema.get("required") or [] if isinstance(key, str)]
        made: dict[str, Any] = {}
        for key, sub in properties.items():
            is_wanted = depth < DEPTH_MAX // 2 and self._draw.random() < 0.6  # noqa: PLR2004 - most optionals are given
            if key in required or is_wanted:
                made[key] = self.value(sub, key, depth + 1) if depth < DEPTH_MAX else None
        for key in required:
            if key not in made:
                made[key] = self.value(schema.get("additionalProperties"), key, depth + 1)
        extra = schema.get("additionalProperties")
        while len(made) < int(schema.get("minProperties") or 0):
            made[f"item_{len(made) + 1}"] = self.value(extra, "", depth + 1)
        return made

    def _array(self, schema: JsonSchema, name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems") or 0)
        most = int(schema.get("maxItems", least + 3))
        wanted = least if depth >= DEPTH_MAX // 2 else max(least, 1 + int(self._draw.random() * 3))
        first = [self.value(sub, name, depth + 1) for sub in schema.get("prefixItems") or []]
        made = first[:most]
        tries = 0
        while len(made) < min(wanted, most) and tries < 50:  # noqa: PLR2004 - a small enum may not fill a unique array
            tries += 1
            item = self.value(schema.get("items") or {}, name.removesuffix("s"), depth + 1)
            if not (schema.get("uniqueItems") and item in made):
                made.append(item)
        return made

    def _number(self, schema: JsonSchema, *, whole: bool) -> int | float:
        low, high = _real(schema, "minimum"), _real(schema, "maximum")
        over, under = _real(schema, "exclusiveMinimum"), _real(schema, "exclusiveMaximum")
        step = _real(schema, "multipleOf")
        if whole:
            lows = [ceil(low)] if low is not None else []
            lows += [floor(over) + 1] if over is not None else []
            highs = [floor(high)] if high is not None else []
            highs += [ceil(under) - 1] if under is not None else []
            least = max(lows) if lows else (min(highs) - 20 if highs else 1)
            most = min(highs) if highs else least + 20
            unit = max(1, int(step or 1))
            first = -(-least // unit)
            return unit * self._draw.randint(first, max(first, most // unit))
        floor_at = max([v for v in (low, over) if v is not None], default=None)
        ceil_at = min([v for v in (high, under) if v is not None], default=None)
        start = float(floor_at) if floor_at is not None else (float(ceil_at) - 10.0 if ceil_at is not None else 0.0)
        end = float(ceil_at) if ceil_at is not None else start + 10.0
        if step is not None and step > 0:
            return float(step * ceil((start + (end - start) / 2) / step))
        share = 0.1 + 0.8 * self._draw.random()
        rounded = round(start + (end - start) * share, 4)
        return rounded if start < rounded < end else start + (end - start) * share

    def _string(self, schema: JsonSchema, name: str) -> str:
        made = self._formatted(str(schema.get("format") or ""), str(schema.get("pattern") or ""))
        if made is None:
            made = self._word(name)
        least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
        while len(made) < least:
            made += " " + self._draw.choice(_NOUNS)
        limit = max(least, int(most)) if most is not None else None
        return made if limit is None else made[:limit]

    def _formatted(self, kind: str, pattern: str) -> str | None:
        day = _EPOCH + timedelta(seconds=int(self._draw.random() * 30_000_000))
        known = {
            "date": day.strftime("%Y-%m-%d"),
            "date-time": day.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "time": day.strftime("%H:%M:%SZ"),
            "duration": "PT30M",
            "email": f"{self._draw.choice(_NAMES).lower()}@example.com",
            "uri": "https://example.com/" + self._draw.choice(_NOUNS),
            "hostname": "host.example.com",
            "ipv4": "192.0.2.17",
            "ipv6": "2001:db8::17",
        }
        if kind == "uuid":
            return str(UUID(int=self._draw.getrandbits(128), version=4))
        return known.get(kind) or (self._patterned(pattern) if pattern else None)

    def _patterned(self, pattern: str) -> str | None:
        r"""A text of a flat pattern (`^[A-Z]{3}-\d{4}$`); None when the result does not match."""
        made = ""
        for part, times, sign in _PATTERN_PART.findall(pattern.strip("^$")):
            count = int(times) if times else 0 if sign in ("*", "?") else 1
            alphabet = "0123456789" if part == "\\d" else _class_of(part) if part.startswith("[") else part
            made += "".join(self._draw.choice(alphabet) for _ in range(count))
        try:
            return made if re.search(pattern, made) else None
        except re.error:
            return None

    def _word(self, name: str) -> str:
        lowered = name.lower()
        if any(key in lowered for key in ("city", "location", "place", "country", "destination", "origin")):
            return str(self._draw.choice(self._proper or list(_CITIES)))
        if "name" in lowered or "author" in lowered or "person" in lowered:
            return str(self._draw.choice(self._proper or list(_NAMES)))
        if "date" in lowered:
            return (_EPOCH + timedelta(days=int(self._draw.random() * 300))).strftime("%Y-%m-%d")
        if "mail" in lowered:
            return f"{self._draw.choice(_NAMES).lower()}@example.com"
        return f"{self._draw.choice(_NOUNS)} {self._draw.choice(_NOUNS)}"


def _real(schema: JsonSchema, key: str) -> int | float | None:
    value = schema.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _without(schema: JsonSchema, *keys: str) -> JsonSchema:
    return {key: value for key, value in schema.items() if key not in keys}


def _merged(left: JsonSchema, right: JsonSchema) -> JsonSchema:
    both = {**left, **right}
    for key in ("properties",):
        if isinstance(left.get(key), dict) and isinstance(right.get(key), dict):
            both[key] = {**left[key], **right[key]}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        both["required"] = [*left["required"], *right["required"]]
    return both


def _class_of(part: str) -> str:
    """The characters of a simple bracket class such as `[A-Z0-9]`."""
    inner = part[1:-1]
    spans = re.findall(r"(\\d|\w-\w|.)", inner)
    made = ""
    for span in spans:
        if span == "\\d":
            made += "0123456789"
        elif len(span) == 3:  # noqa: PLR2004 - a-z
            made += "".join(chr(code) for code in range(ord(span[0]), ord(span[2]) + 1))
        else:
            made += span
    return made or "x"
