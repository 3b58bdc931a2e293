"""``tollgate check``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import shipped_policy
from router.errors import ConfigError

if TYPE_CHECKING:
    from router.policy import Policy, PolicyModel

MTOK_NANO = 1_000_000_000


def check_policy(path: str | None, *, as_json: bool) -> int:
    """Print the findings, or what the policy says; returns the exit code: 0 sound, 1 with findings."""
    file = Path(path) if path is not None else shipped_policy("default")
    try:
        policy = load_policy(file, load_catalog(), datetime.now(tz=UTC).date())
    except ConfigError as error:
        if as_json:
            found = error.data.get("findings") or [{"text": error.message}]
            print(json.dumps({"ok": False, "findings": found}, indent=2))  # noqa: T201  # this command's output
        else:
            print(error.message)  # noqa: T201  # this command's output
        return 1
    if as_json:
        print(json.dumps(summary_of(policy), indent=2))  # noqa: T201  # this command's output
    else:
        show(policy)
    return 0


def _row(model: PolicyModel) -> dict[str, object]:
    base = model.prices.base
    return {
        "model": model.id,
        "provider_model": model.provider_model,
        "tier": model.tier,
        "input_usd_per_mtok": f"{base.input / MTOK_NANO:g}",
        "output_usd_per_mtok": f"{base.output_text / MTOK_NANO:g}",
        "context_window": model.card.context_window,
        "output_tokens_max": model.card.max_output_tokens,
    }


def summary_of(policy: Policy) -> dict[str, object]:
    """The policy as the gateway understood it."""
    return {
        "ok": True,
        "name": policy.name,
        "revision": policy.revision,
        "price_revision": policy.price_revision,
        "premium": policy.premium,
        "quality_tiers": dict(policy.quality_tiers),
        "default_tier": policy.default_tier,
        "models": [_row(model) for model in policy.models.values()],
        "rules": [rule.name for rule in policy.rules],
        "warnings": list(policy.warnings),
    }


def show(policy: Policy) -> None:
    """The same as a table for people."""
    tiers = ", ".join(f"{name} {tolerance:g}" for name, tolerance in policy.quality_tiers.items())
    table = Table(title=f"{policy.name}: premium {policy.premium}; tiers {tiers}; default {policy.default_tier}")
    rows = [_row(model) for model in policy.models.values()]
    for column in rows[0]:
        table.add_column(column, justify="left" if column in ("model", "provider_model", "tier") else "right")
    for row in rows:
        table.add_row(*(str(value) if value is not None else "unknown" for value in row.values()))
    console = Console()
    console.print(table)
    for warning in policy.warnings:
        console.print(f"warning: {warning}", style="yellow")
