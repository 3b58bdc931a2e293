"""What pydantic found wrong with a policy, in the policy's words; and the rest of it, so that that is checked too."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from router.config.fields import CAPABILITIES
from router.config.schema import LATER_FIELDS, PolicyFile
from router.misspelt import meant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.config.yaml_places import Finding, Path, Places

LATER = "not available in this version: remove it, nothing would act on it"
MESSAGES: Mapping[str, str] = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "decimal_type": "must be a number, without quotes",
    "is_instance_of": "must be a number, without quotes",
    "string_type": "must be text; put it in quotes",
    "list_type": "must be a list, such as [a, b]",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
    "model_attributes_type": "must be a block of keys",
    "date_type": "must be a day such as 2026-11-01, without quotes",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "too_long": "has more than {max_length} entries",
    "string_too_long": "is longer than {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "decimal_max_places": "has more than {decimal_places} decimals: no bill is that fine",
}
NAME_PATTERN = "must be letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or a digit"
PATTERNS: Mapping[str, str] = {"provider_model": "must be `provider/model`, such as anthropic/claude-opus-5-5"}
# What stands in for a wrong value while the rest is checked: values that can cause no finding of their own.
MODEL_STAND_INS: Mapping[str, object] = {
    "tier": "premium",
    "price_usd_per_mtok": {"input": 1, "output": 1},
    "capabilities": list(CAPABILITIES),
}
OPTIONAL_MODEL_FIELDS = frozenset({"api_key_env", "context_window", "output_tokens_max"})
REQUIRE_STAND_IN: Mapping[str, object] = {"tolerance_max": 0.5}
WHEN_STAND_IN: Mapping[str, object] = {"team": ["?"]}
BUDGET_STAND_IN: Mapping[str, object] = {"scope": "session", "window": "hour", "limit_usd": 1}


def later_findings(places: Places) -> list[Finding]:
    """Fields whose machinery is still to come, wherever the file has them."""
    return [places.find(path, LATER) for pattern in LATER_FIELDS for path in _paths_of(places.value, pattern, ())]


def _paths_of(value: object, pattern: tuple[str, ...], at: Path) -> Iterator[Path]:
    if not pattern:
        yield at
    elif pattern[0] == "*" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths_of(item, pattern[1:], (*at, index))
    elif isinstance(value, dict) and pattern[0] in value:
        yield from _paths_of(value[pattern[0]], pattern[1:], (*at, pattern[0]))


def validated(places: Places) -> tuple[PolicyFile | None, list[Finding]]:
    """The file, and what is wrong with its shape.

    A file that is wrong in places is returned without them, with stand-ins where something must stand, so that the
    rest is checked in the same run; None where too little is left for that.
    """
    try:
        return PolicyFile.model_validate(places.value), []
    except ValidationError as error:
        found = [dict(each) for each in error.errors(include_url=False)]
    findings = [_finding_of(places, each) for each in found]
    rest = copy.deepcopy(places.value)
    assert isinstance(rest, dict)
    try:
        for each in found:
            _mend(rest, _path_of(each), str(each["type"]))
        return PolicyFile.model_validate(rest), findings
    except (ValidationError, KeyError, TypeError, IndexError, StopIteration):
        return None, findings


def message_of(error: Mapping[str, Any]) -> str:
    """One mistake of pydantic's in our words; one that has none of ours keeps its own."""
    message = MESSAGES.get(str(error["type"]))
    if message is None:
        return str(error["msg"])
    bounds = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
    return message.format(**bounds)


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _path_of(error: Mapping[str, object]) -> Path:
    location = error["loc"]
    assert isinstance(location, tuple)
    return tuple(part for part in location if part != "[key]")


def _finding_of(places: Places, error: Mapping[str, Any]) -> Finding:
    path, kind = _path_of(error), str(error["type"])
    if path == ("version",) and kind == "literal_error":
        quotes = ", without quotes" if error["input"] == "1" else ""
        return places.find(path, f"this Tollgate reads version 1{quotes}")
    if kind == "literal_error":
        asked = error["input"]
        close = meant(asked, re.findall(r"'([^']+)'", error["ctx"]["expected"])) if isinstance(asked, str) else ""
        return places.find(path, f"must be {error['ctx']['expected'].replace(chr(39), '')}{close}")
    if kind == "string_pattern_mismatch":
        return places.find(path, PATTERNS.get(str(path[-1]), NAME_PATTERN))
    message = message_of(error)
    if kind == "extra_forbidden":
        message += meant(str(path[-1]), _siblings_of(path))
    return places.find(path, message)


def _siblings_of(path: Path) -> list[str]:
    """The keys that the block around this path may have."""
    schema = PolicyFile.model_json_schema()
    definitions = schema.get("$defs", {})
    node: dict[str, Any] = schema
    for part in path[:-1]:
        patterns = node.get("patternProperties")
        by_name = next(iter(patterns.values())) if isinstance(patterns, dict) else node.get("additionalProperties")
        inner = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part, by_name)
        options = inner.get("anyOf", [inner]) if isinstance(inner, dict) else []
        node = next((option for option in options if isinstance(option, dict) and option.get("type") != "null"), {})
        reference = node.get("$ref")
        if isinstance(reference, str):
            node = definitions[reference.rsplit("/", 1)[-1]]
    return list(node.get("properties", {}))


def _mend(rest: dict[str, Any], path: Path, kind: str) -> None:
    """Take what is wrong at the path out of the file; raises a lookup's error where the file cannot do without."""
    top = path[0] if path else None
    if kind == "extra_forbidden":
        _delete(rest, path)
    elif top == "models" and len(path) > 1:
        _mend_model(rest["models"], path[1:])
    elif top == "rules" and len(path) > 1:
        _mend_rule(rest["rules"], path[1:])
    elif top == "budgets" and len(path) > 1:
        rest["budgets"][path[1]] = {**BUDGET_STAND_IN, "name": f"unnamed.{path[1]}"}
    elif top == "routing":
        _mend_routing(rest, path[1:])
    elif top in ("version", "name"):
        rest[top] = 1 if top == "version" else "unnamed"
    else:
        # A second mistake in the block finds it gone already.
        assert isinstance(top, str)
        rest.pop(top, None)


def _mend_model(models: dict[str, Any], path: Path) -> None:
    name, field = str(path[0]), path[1] if len(path) > 1 else None
    if field in MODEL_STAND_INS and isinstance(models.get(name), dict):
        models[name][field] = MODEL_STAND_INS[str(field)]
    elif field in OPTIONAL_MODEL_FIELDS and isinstance(models.get(name), dict):
        models[name].pop(field, None)
    else:
        models.pop(name, None)


def _mend_rule(rules: list[Any], path: Path) -> None:
    index, field = path[0], path[1] if len(path) > 1 else None
    assert isinstance(index, int)
    rule = rules[index]
    if field is None or not isinstance(rule, dict):
        rules[index] = {"name": f"unnamed.{index}", "require": dict(REQUIRE_STAND_IN)}
    elif field == "name":
        rule["name"] = f"unnamed.{index}"
    elif len(path) == 2:  # noqa: PLR2004  # the block itself
        rule[field] = dict(WHEN_STAND_IN if field == "when" else REQUIRE_STAND_IN)
    else:
        rule[field].pop(path[2], None)
        if field == "when" and not rule[field]:  # without a condition it would apply to everything
            rule[field] = dict(WHEN_STAND_IN)


def _mend_routing(rest: dict[str, Any], path: Path) -> None:
    first = next(iter(rest["models"]))
    tiers = {"premium": 0.0}
    if not path:
        rest["routing"] = {"premium": first, "quality_tiers": tiers, "default_tier": "premium"}
        return
    routing = rest["routing"]
    if path[0] == "quality_tiers" and len(path) > 1:
        routing["quality_tiers"].pop(path[1], None)
    elif path[0] == "quality_tiers":
        routing["quality_tiers"] = tiers
    elif path[0] == "premium":
        routing["premium"] = first
    elif path[0] == "default_tier":
        routing["default_tier"] = next(iter(routing["quality_tiers"]))
    else:
        routing.pop(path[0], None)


def _delete(rest: Any, path: Path) -> None:  # noqa: ANN401  # a plain document
    for part in path[:-1]:
        rest = rest[part]
    rest.pop(path[-1], None)
