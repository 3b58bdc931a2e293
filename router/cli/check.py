"""``tollgate check``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.cli.table import table_text
from router.config.lint import lint_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.money import usd_of

if TYPE_CHECKING:
    from datetime import date

    from router.policy import Policy, PolicyModel


def check_policy(path: str | None, *, as_json: bool, is_strict: bool = False, today: date | None = None) -> int:
    """Print what is wrong with the policy, or what it says; returns 0 where it may be served, 1 with findings.

    With ``is_strict`` a warning counts too. Raises ConfigError where the file cannot be read at all.
    """
    file = load_settings(policy=path).policy_path
    reading = lint_policy(file, load_catalog(), today or datetime.now(tz=UTC).date())
    is_wrong = bool(reading.findings) or (is_strict and bool(reading.warnings))
    found = [*((each, "error") for each in reading.findings), *((each, "warning") for each in reading.warnings)]
    if as_json:
        findings = [{**asdict(each), "severity": severity, "text": str(each)} for each, severity in found]
        summary = summary_of(reading.policy) if reading.policy is not None and not reading.findings else {}
        document = {"ok": not is_wrong, "findings": findings, **summary}
        print(json.dumps(document, indent=2))  # noqa: T201  # this command's output
        return 1 if is_wrong else 0
    for each, severity in sorted(found):
        print(each if severity == "error" else f"{each} (warning)")  # noqa: T201  # this command's output
    if reading.policy is not None and not reading.findings:
        show(reading.policy)
    return 1 if is_wrong else 0


def _usd(price_nanousd_per_mtok: int) -> str:
    whole, _, decimals = usd_of(price_nanousd_per_mtok).partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


def _row(model: PolicyModel) -> dict[str, object]:
    base = model.prices.base
    return {
        "model": model.id,
        "provider_model": model.provider_model,
        "tier": model.tier,
        "input_usd_per_mtok": _usd(base.input),
        "output_usd_per_mtok": _usd(base.output_text),
        "context_window": model.card.context_window,
        "output_tokens_max": model.card.max_output_tokens,
    }


def summary_of(policy: Policy) -> dict[str, object]:
    """The policy as the gateway understood it."""
    return {
        "name": policy.name,
        "revision": policy.revision,
        "price_revision": policy.price_revision,
        "premium": policy.premium,
        "quality_tiers": dict(policy.quality_tiers),
        "default_tier": policy.default_tier,
        "models": [_row(model) for model in policy.models.values()],
        "rules": [rule.name for rule in policy.rules],
        "budgets": [budget.name for budget in policy.budgets],
    }


def show(policy: Policy) -> None:
    """The same for people."""
    rows = [_row(model) for model in policy.models.values()]
    cells = [["unknown" if value is None else str(value) for value in row.values()] for row in rows]
    tiers = ", ".join(f"{name} {tolerance:g}" for name, tolerance in policy.quality_tiers.items())
    rules = ", ".join(rule.name for rule in policy.rules) or "none"
    print(  # noqa: T201  # this command's output
        f"policy {policy.name}: sound\n"
        f"  premium  {policy.premium}\n"
        f"  tiers    {tiers}; {policy.default_tier} where a request names none\n"
        f"  rules    {rules}\n"
        f"  budgets  {', '.join(each.name for each in policy.budgets) or 'none'}\n\n"
        f"{table_text(list(rows[0]), cells, left=('model', 'provider_model', 'tier'))}"
    )
