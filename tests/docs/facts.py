"""What the code has that the documentation must name: read from the code itself, never listed here."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from prometheus_client import CollectorRegistry

import router.server.errors  # noqa: F401  # its errors belong to the tree
from router.cli import app as cli
from router.config.schema import policy_schema
from router.errors import ConfigError, RouterError
from router.guards import Keeper
from router.server.dashboard import HEADERS as PAGE_HEADERS
from router.stores.budgets.memory import MemoryBudgets
from router.telemetry import Telemetry
from router.wiring import routes_of
from tests.router.server.fakes import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).resolve().parents[2] / "router" / "server"
NAMED = {"models": "NAME", "catch_rate": "NAME", "quality_tiers": "TIER", "tags": "TAG", "limits_usd": "OWNER"}


# --- the policy ------------------------------------------------------------------------------------------------------


def policy_fields() -> dict[str, dict[str, Any]]:
    """Every field's path, such as ``rules[].when.team``, and its JSON Schema; ``required`` is among its keys."""
    schema = policy_schema()
    return dict(_fields_of(schema, schema["$defs"], ""))


def _fields_of(block: dict[str, Any], definitions: Any, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, about in block["properties"].items():
        path = f"{prefix}{name}"
        yield path, {**about, "required": name in block.get("required", ())}
        yield from _inside(about, definitions, path, name)


def _inside(about: dict[str, Any], definitions: Any, path: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in about:
        yield from _fields_of(definitions[about["$ref"].rsplit("/", 1)[-1]], definitions, f"{path}.")
    elif "items" in about:
        yield from _inside(about["items"], definitions, f"{path}[]", name)
    else:
        by_name = next(iter(about.get("patternProperties", {}).values()), about.get("additionalProperties"))
        if isinstance(by_name, dict):
            yield from _inside(by_name, definitions, f"{path}.{NAMED[name]}", name)


def type_text(about: dict[str, Any]) -> str:
    """The type of a field as a person says it."""
    if "enum" in about:
        return " or ".join(f"`{each}`" for each in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    kind = about.get("type")
    if kind == "array":
        return f"list of {type_text(about['items'])}"
    if kind in ("integer", "number"):
        return f"{'whole number' if kind == 'integer' else 'number'}{_range_text(about)}"
    if kind == "boolean":
        return "`true` or `false`"
    if kind == "string":
        return "day" if about.get("format") == "date" else "text"
    by_name = next(iter(about.get("patternProperties", {}).values()), about.get("additionalProperties"))
    if isinstance(by_name, dict):
        return f"block of names: {type_text(by_name)}"
    return "block"


def _range_text(about: dict[str, Any]) -> str:
    low, high = about.get("minimum", about.get("exclusiveMinimum")), about.get("maximum")
    above = "above " if "exclusiveMinimum" in about else ""
    return f" {above}{low:,g} to {high:,}" if high is not None else ""


def default_text(about: dict[str, Any]) -> str:
    """What holds when the field is not given."""
    if about["required"]:
        return "required"
    value = about.get("default")
    if value is None or value == [] or isinstance(value, dict):
        return "-"
    if isinstance(value, bool | str):
        return f"`{str(value).lower() if isinstance(value, bool) else value}`"
    return f"`{int(value) if int(value) == value else value}`"


# --- the command line ------------------------------------------------------------------------------------------------


def commands() -> dict[str, dict[str, str]]:
    """Every command by its words, with each of its arguments and options, as they are written, and their help."""
    return dict(_commands_of(typer.main.get_command(cli), "tollgate"))


def _commands_of(command: Any, words: str) -> Iterator[tuple[str, dict[str, str]]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, dict(_option_of(each) for each in command.params if each.name != "help")
        return
    for name, each in inner.items():
        yield from _commands_of(each, f"{words} {name}")


def _option_of(parameter: Any) -> tuple[str, str]:
    if parameter.param_type_name == "argument":
        return parameter.metavar, parameter.help
    assert parameter.is_flag or parameter.metavar, f"{parameter.opts[0]} needs a metavar"
    return f"{parameter.opts[0]} {parameter.metavar or ''}".strip(), parameter.help


# --- HTTP ------------------------------------------------------------------------------------------------------------


def _api() -> Any:
    from router.server.app import create_app

    parts = parts_of()
    app = create_app(parts, *routes_of(parts, MemoryBudgets(parts.clock), Keeper(b"salt", print)))
    return inspect.getclosurevars(app).nonlocals["api"]


def routes() -> set[str]:
    """``METHOD /path`` of everything that is served."""
    return set(_routes_in(_api()))


def _routes_in(router: Any) -> Iterator[str]:
    for route in router.routes:
        inner = getattr(route, "original_router", None)  # newer FastAPI keeps what was included as it was
        if inner is not None:
            yield from _routes_in(inner)
        else:
            yield from (f"{method} {route.path.replace(':path', '')}" for method in route.methods - {"HEAD"})


def request_headers() -> set[str]:
    """Headers that change what a request means, in lower case."""
    found = set[str]()
    for name in ("terms.py", "auth.py"):
        text = (SERVER / name).read_text()
        found |= set(re.findall(r'"((?:x|helicone)-[a-z-]+|authorization|idempotency-key)"', text))
    return found


def response_headers() -> set[str]:
    """Headers that some answer carries, in lower case; framing aside."""
    written = "".join(path.read_text() for path in SERVER.glob("*.py"))
    found = set(re.findall(r'\(b"([a-z]+(?:-[a-z]+)+)",', written))
    return found - {"content-length", "content-type"} | set(PAGE_HEADERS) | {"etag"}


def error_codes() -> dict[str, int]:
    """Every code that an answer may carry, and its status."""
    return {each.code: each.http_status for each in _below(RouterError) if not issubclass(each, ConfigError)}


def _below(kind: type[RouterError]) -> Iterator[type[RouterError]]:
    if not kind.__module__.startswith("tests"):
        yield kind
    for each in kind.__subclasses__():
        yield from _below(each)


def metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric's kind and labels."""
    from router.server.app import create_app

    registry = CollectorRegistry()
    Telemetry(registry)
    create_app(parts_of(registry=registry))
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for metric in list(registry._collector_to_names):
        kind, name = metric._type, metric._name
        found[f"{name}_total" if kind == "counter" else name] = (kind, tuple(metric._labelnames))
    return found
