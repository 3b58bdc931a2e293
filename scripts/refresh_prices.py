"""Takes the price map of the installed litellm as the pinned catalogue, and prints what that changes.

The map is copied byte for byte: its sha256 is the price revision on every ledger line. Nothing is fetched. Prices are
printed in USD per million tokens. `--check` writes nothing and exits 1 where the two differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from router.catalog import Catalog, ModelCard, PriceSchedule, PriceTier, lint_catalog, parse_catalog
from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "router" / "data" / "prices.json"
GOLDEN = ROOT / "tests" / "golden" / "prices.txt"
GOLDEN_MODELS = (
    "anthropic/claude-opus-5-5",
    "anthropic/claude-sonnet-5-5",
    "anthropic/claude-haiku-5-5",
    "anthropic/claude-haiku-4-5-20251001",
    "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "gemini/gemini-4-argon",
    "gemini/gemini-3.8-flash",
    "gemini/gemini-2.5-pro",
    "vertex_ai/gemini-2.5-flash",
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "deepinfra/meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "sambanova/Llama-4-Maverick-17B-128E-Instruct",
    "fireworks_ai/accounts/fireworks/models/llama-v3p3-70b-instruct",
    "dashscope/qwen3-coder-plus",
)
PACKAGED = "model_prices_and_context_window_backup.json"
PLAIN_FIELDS = (
    "provider",
    "mode",
    "context_window",
    "max_output_tokens",
    "deprecation_date",
    "prompt_cache_min_tokens",
)
BUCKETS = tuple(field.name for field in fields(PriceTier) if field.name != "above_input_tokens")


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed fact of one model; empty ``old`` means added, empty ``new`` removed."""

    model: str
    what: str
    old: str
    new: str


def installed_map() -> Path:
    """Where the installed litellm keeps its map, found without importing it. Raises FileNotFoundError."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("litellm is not installed")
    return Path(spec.origin).parent / PACKAGED


def _usd(price: int) -> str:
    return usd_of(price).rstrip("0").rstrip(".")


def _prices_of(schedule: PriceSchedule | None, service: str) -> dict[str, str]:
    if schedule is None:
        return {}
    found: dict[str, str] = {}
    for tier in schedule.tiers:
        above = f" above {tier.above_input_tokens}" if tier is not schedule.base else ""
        found |= {f"{service}{bucket}{above}": _usd(getattr(tier, bucket)) for bucket in BUCKETS}
    return found


def facts_of(card: ModelCard) -> dict[str, str]:
    """What a card says, as text by name: prices of every tier and service, limits, dates, flags."""
    found = _prices_of(card.prices, "") | _prices_of(card.batch, "batch ") | _prices_of(card.flex, "flex ")
    found |= {name: str(getattr(card, name)) for name in PLAIN_FIELDS if getattr(card, name) is not None}
    found |= {f"can {name}": "yes" for name in card.capabilities}
    found |= {f"refuses {name}": "yes" for name in card.refuses}
    return found


def _headline(card: ModelCard) -> str:
    if card.prices is None:
        return f"{card.mode or 'no mode'}, no price per token"
    return f"{card.mode}, {_usd(card.prices.base.input)} in, {_usd(card.prices.base.output_text)} out"


def differences_of(old: Catalog, new: Catalog) -> Iterator[Difference]:
    """Added, removed and changed models, by name."""
    for name in sorted({*old.entries, *new.entries}):
        before, after = old.card(name) if name in old.entries else None, new.card(name) if name in new.entries else None
        if before is None and after is not None:
            yield Difference(name, "added", "", _headline(after))
        elif before is not None and after is None:
            yield Difference(name, "removed", _headline(before), "")
        elif before is not None and after is not None and before != after:
            was, now = facts_of(before), facts_of(after)
            for what in sorted({*was, *now}):
                if was.get(what) != now.get(what):
                    yield Difference(name, what, was.get(what, "-"), now.get(what, "-"))


def table_of(differences: list[Difference]) -> str:
    """The differences in aligned columns."""
    rows = [("model", "what", "old", "new"), *((each.model, each.what, each.old, each.new) for each in differences)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def golden_of(catalog: Catalog) -> str:
    """Every fact of a dozen models as text, for eyes and for the test that holds them."""
    blocks = []
    for model in GOLDEN_MODELS:
        card = catalog.card(model)
        facts = facts_of(card) if card is not None else {"missing": "the map does not know it"}
        blocks.append("\n".join([model, *(f"  {name}: {value}" for name, value in sorted(facts.items()))]))
    return "\n\n".join(blocks) + "\n"


def routable_findings(catalog: Catalog, models: list[str], today: date) -> list[str]:
    """The lint of the models that the shipped policies route to; a model that the map has lost is a finding too."""
    cards = {model: catalog.card(model) for model in models}
    lost = [
        f"{model}: not in the catalogue, so it needs a price of its own"
        for model, card in cards.items()
        if card is None
    ]
    return lost + [str(each) for each in lint_catalog((card for card in cards.values() if card), today)]


def shipped_models(policies: Path) -> list[str]:
    """Every `provider_model` of the shipped policies, read without their contract prices."""
    found = set()
    for path in sorted(policies.glob("*.yaml")):
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, value = line.strip().partition(":")
            if key == "provider_model":
                found.add(value.split("#")[0].strip().strip("\"'"))
    return sorted(found)


def main(arguments: list[str] | None = None) -> int:
    """Refresh, print, and say by the exit code whether `--check` found a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where the two differ")
    parser.add_argument("--source", type=Path, help="another map than the installed litellm's")
    parser.add_argument("--snapshot", type=Path, default=SNAPSHOT, help="the pinned map")
    options = parser.parse_args(arguments)
    try:
        raw = (options.source or installed_map()).read_bytes()
        new = parse_catalog(raw)
        old = parse_catalog(options.snapshot.read_bytes()) if options.snapshot.exists() else Catalog("none", {})
        differences = list(differences_of(old, new))
    except (OSError, ValueError) as error:
        print(f"refresh_prices: {error}", file=sys.stderr)
        return 3
    if differences:
        print(table_of(differences))
    added = sum(each.what == "added" for each in differences)
    removed = sum(each.what == "removed" for each in differences)
    changed = len({each.model for each in differences}) - added - removed
    print(f"{old.revision[:12]} -> {new.revision[:12]}: {added} added, {removed} removed, {changed} changed")
    for line in routable_findings(new, shipped_models(ROOT / "policies"), datetime.now(tz=UTC).date()):
        print(f"shipped policy: {line}")
    is_other = old.revision != new.revision
    if options.check:
        return 1 if is_other else 0
    if is_other:
        options.snapshot.write_bytes(raw)
        if options.snapshot == SNAPSHOT:
            GOLDEN.write_text(golden_of(new), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
