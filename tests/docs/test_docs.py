"""The documentation names what the code has, and nothing else; links lead somewhere and examples are sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from router.config.hosts import HOSTS
from router.config.schema import policy_schema
from router.config.settings import SETTINGS
from router.config.yaml_places import Places
from router.decision import Reason
from tests.docs import facts

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def rows(document: str, heading: str | None = None) -> list[list[str]]:
    """The cells of every table row below the heading, or of the whole document; heads and rules left out."""
    text = (DOCS / document).read_text()
    if heading is not None:
        level = heading.split(" ", 1)[0]
        text = re.split(rf"^{re.escape(heading)}$", text, flags=re.MULTILINE)[1]
        text = re.split(rf"^#{{1,{len(level)}}} ", text, flags=re.MULTILINE)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {number - 1 for number, line in enumerate(lines) if re.fullmatch(r"[|-]+", line)}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if number not in heads and number - 1 not in heads
    ]


def first_codes(document: str, heading: str | None = None, cell: int = 0) -> list[str]:
    return [found[1] for row in rows(document, heading) if (found := CODE.fullmatch(row[cell]))]


def as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    if isinstance(value, float):
        return float(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def test_every_policy_field_stands_once_with_type_default_and_meaning() -> None:
    documented = [(row[0].strip("`"), row[1], row[2], row[4]) for row in rows("policy.md")]
    fields = [
        (path, facts.type_text(about), facts.default_text(about), about["description"])
        for path, about in facts.policy_fields().items()
    ]
    assert sorted(documented) == sorted(fields)


@pytest.mark.parametrize("row", rows("policy.md"), ids=lambda row: row[0].strip("`"))
def test_every_example_of_a_field_is_one(row: list[str]) -> None:
    path, example = row[0].strip("`"), row[3].strip("`")
    about = {key: value for key, value in facts.policy_fields()[path].items() if key != "required"}
    places = Places(f"x: {example}\n", path)
    assert places.findings == []
    assert isinstance(places.value, dict)
    schema = {**about, "$defs": policy_schema()["$defs"]}
    Draft202012Validator(schema).validate(as_json(places.value["x"]))


def test_every_setting_stands_with_its_default() -> None:
    stated = {row[0].strip("`"): row[1].strip("`") for row in rows("settings.md") if row[0].isupper()}
    assert stated == {name: default or "none" for name, default in SETTINGS.items()}


def test_every_provider_stands_with_its_address_and_variables() -> None:
    stated = {row[0].strip("`"): row[2:] for row in rows("settings.md", "## Provider keys")}
    assert set(stated) == set(HOSTS)
    for name, host in HOSTS.items():
        address, keys = stated[name]
        assert CODE.findall(address) == [host.api_base or "api_base"]
        assert tuple(CODE.findall(keys)) == host.key_names
        assert keys.endswith("if it wants one") is not host.needs_key


def test_every_command_has_its_part() -> None:
    headings = re.findall(r"^## (tollgate .*)$", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert headings == list(facts.commands())


@pytest.mark.parametrize("command", list(facts.commands()))
def test_every_argument_and_option_stands_with_its_help(command: str) -> None:
    documented = {row[0].strip("`"): row[1] for row in rows("cli.md", f"## {command}")}
    assert documented == facts.commands()[command]


def test_every_exit_code_stands() -> None:
    from router import cli

    codes = {cli.EXIT_OK, cli.EXIT_FINDINGS, cli.EXIT_USAGE, cli.EXIT_CONFIGURATION}
    assert {int(row[0]) for row in rows("cli.md", "## Exit codes")} == codes


def test_every_route_stands() -> None:
    assert sorted(first_codes("http.md", "## Routes")) == sorted(facts.routes())


def test_every_request_header_stands() -> None:
    assert {name.lower() for name in first_codes("http.md", "## Request headers")} == facts.request_headers()


def test_every_response_header_stands() -> None:
    listed = {name.lower() for name in first_codes("http.md", "## Response headers")}
    assert listed - set(first_codes("http.md", "### Reasons")) == facts.response_headers()


def test_every_reason_stands() -> None:
    assert sorted(first_codes("http.md", "### Reasons")) == sorted(Reason.__args__)


def test_every_error_code_stands_with_its_status() -> None:
    documented = {row[1].strip("`"): int(row[0]) for row in rows("http.md", "## Errors")}
    assert documented == facts.error_codes()


def test_every_metric_stands_with_kind_and_labels() -> None:
    documented = {row[0].strip("`"): (row[1], tuple(CODE.findall(row[2]))) for row in rows("http.md", "## Metrics")}
    assert documented == facts.metrics()


@pytest.mark.parametrize("path", [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))], ids=lambda path: path.name)
def test_every_link_within_the_project_leads_somewhere(path: Path) -> None:
    targets = [target for target in LINK.findall(path.read_text()) if not target.startswith(("http", "mailto:"))]
    assert [target for target in targets if not (path.parent / target).exists()] == []


PROSE = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((ROOT / "policies").glob("*.yaml"))]
SHOWN = [*sorted((ROOT / "router/server").rglob("*.*")), *sorted((ROOT / "router/cli").glob("*.py"))]
# A tolerance bounds a mean. What one request is held to is the threshold calibrated for it, which may lie above.
ONE_REQUEST = re.compile(
    r"larg(est|er) (acceptable )?expected (quality )?loss"
    r"|predicted (quality )?loss\b(?:(?!mean)[^.;|]){0,90}\bwithin (it\b|(the|its)( tier's)? tolerance)"
    r"|loss (\\u2264|\u2264)|calibrated: (at most|\$)|in tolerance, but dearer"
)


@pytest.mark.parametrize(
    "path", [*PROSE, ROOT / "router/config/schema.py", *(path for path in SHOWN if path.suffix in (".py", ".js"))],
    ids=lambda path: path.name,
)  # fmt: skip
def test_no_words_make_a_tolerance_the_bound_of_one_request(path: Path) -> None:
    text = re.sub(r"\s+(# |\" *\n? *f?\")?", " ", path.read_text())
    assert [found[0] for found in ONE_REQUEST.finditer(text)] == []


def test_the_index_names_every_document() -> None:
    index = (DOCS / "README.md").read_text()
    assert [path.name for path in DOCS.glob("*.md") if path.name != "README.md" and f"({path.name})" not in index] == []
