from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from router.cli import app
from router.config.schema import policy_schema
from router.config.yaml_places import ExactFloat, Places

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "policies"
# What no schema can see: YAML itself, the catalogue, other files, and one field against another.
BEYOND = {
    *("api-base-bad", "default-tier-unknown", "keys-malformed", "keys-missing", "keys-not-yaml", "keys-twice"),
    *("keys-readable-by-others", "keys-of-another-version", "keys-with-names-that-are-gone"),
    *("model-not-for-chat", "model-not-in-the-catalogue-with-a-price", "model-priced-zero", "model-retired"),
    *("model-unknown", "model-unknown-of-nobody", "model-unpriced", "output-limit-above-window", "premium-unknown"),
    *("price-tiers-falling", "provider-unknown", "provider-without-address", "rule-impossible"),
    *("rule-impossible-together", "rule-names-twice", "rule-never-applies", "rules-always-impossible"),
    *("tolerance-of-premium", "tolerance-slip-of-the-point", "vendor-of-another-provider", "duplicate-keys"),
    *("window-below-the-output-limit", "no-such-day", "price-nan", "price-too-exact", "file-not-utf-8"),
    *(
        "cascade-names",
        "cascade-confidence",
        "cascade-logprobs",
        "cascade-unbounded",
        "cascade-verifier",
        "cascade-verifier-unbounded",
        "budget-above-its-parent",
        "budget-fields-without-meaning",
    ),
    *("budget-names-twice", "budget-store", "budget-store-reject"),
}


def plain(value: Any) -> Any:
    """As a JSON parser would hand it over."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, ExactFloat):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(policy_schema())


def test_the_schema_is_a_valid_one_of_its_draft() -> None:
    schema = policy_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["schema"])
    assert done.exit_code == 0
    assert json.loads(done.output) == policy_schema()


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.yaml")), ids=lambda path: path.stem)
def test_it_accepts_what_is_shipped(path: Path, validator: Draft202012Validator) -> None:
    value = plain(Places(path.read_text(), path.name).value)
    assert [error.message for error in validator.iter_errors(value)] == []


def text_of(name: str) -> str:
    return (GOLDEN / f"{name}.yaml").read_bytes().decode("utf-8", "replace")


def structural() -> list[Path]:
    return [path for path in sorted(GOLDEN.glob("*.yaml")) if path.stem not in BEYOND]


@pytest.mark.parametrize("path", structural(), ids=lambda path: path.stem)
def test_it_rejects_the_mistakes_of_shape(path: Path, validator: Draft202012Validator) -> None:
    assert not validator.is_valid(plain(Places(text_of(path.stem), path.name).value))


def test_what_is_beyond_it_is_still_a_golden_mistake(validator: Draft202012Validator) -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} >= BEYOND
    values = {name: plain(Places(text_of(name), name).value) for name in BEYOND}
    assert [name for name, value in values.items() if not validator.is_valid(value)] == ["api-base-bad"]


def test_every_field_says_what_it_is() -> None:
    schema = policy_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    blocks = {"PolicyFile": schema, **definitions}
    silent = [
        f"{name}.{field}"
        for name, block in blocks.items()
        for field, about in block["properties"].items()
        if not about.get("description")
    ]
    assert silent == []
