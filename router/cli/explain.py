"""``tollgate explain``: the decision for a prompt, without sending it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from router.chat import Message, Request, Text
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.decide import decide
from router.decision import Decision, receipt_of
from router.errors import RouterError
from router.money import usd_of
from router.policy import Caller, Terms
from router.quality import load_quality_model

FEATURES_SHOWN = 12


def explain_prompt(prompt: str, *, tier: str | None, tolerance: float | None, policy: str | None, as_json: bool) -> int:
    """Decide and print; returns 0, or 1 where nothing may serve the prompt."""
    text = sys.stdin.read() if prompt == "-" else prompt
    settings = load_settings(policy=policy)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    request = Request(
        surface="openai_chat",
        model="auto",
        messages=(Message("user", (Text(text),)),),
        body={},
        body_bytes=len(text.encode("utf-8", "replace")),
    )
    terms = Terms(quality_tier=tier, tolerance=tolerance)
    try:
        decision = decide(request, Caller(), terms, loaded, load_quality_model(None), decision_id="dec_explained")
    except RouterError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  # this command's output
        return 1
    if as_json:
        print(json.dumps(receipt_of(decision), indent=2))  # noqa: T201  # this command's output
    else:
        show(decision)
    return 0


def show(decision: Decision) -> None:
    """The decision as tables for people."""
    console = Console()
    tier = f"tier {decision.quality_tier}, " if decision.quality_tier else ""
    console.print(
        f"[bold]{decision.model}[/bold] ({decision.reason}); {tier}tolerance {decision.tolerance:g}, "
        f"predicted-loss threshold {decision.threshold:.4f}; complexity {decision.complexity:.3f}, "
        f"support {decision.support:.2f}, kind {decision.kind}"
    )
    table = Table(title="candidates")
    for column in (
        "model",
        "quality",
        "+-",
        "predicted loss",
        "tokens in/out",
        "expected cost USD",
        "rests on",
        "lost by",
    ):
        table.add_column(column, justify="left" if column in ("model", "rests on", "lost by") else "right")
    for each in sorted(decision.candidates, key=lambda candidate: candidate.expected_cost_nanousd):
        table.add_row(
            each.model,
            "" if each.quality is None else f"{each.quality:.3f}",
            "" if each.quality_width is None else f"{each.quality_width:.3f}",
            "" if each.predicted_loss is None else f"{each.predicted_loss:.4f}",
            f"{each.input_tokens}/{each.output_tokens}",
            usd_of(each.expected_cost_nanousd),
            each.placement,
            ", ".join(each.why_not) or "chosen",
        )
    console.print(table)
    features = Table(title="features that are not zero")
    features.add_column("feature")
    features.add_column("value", justify="right")
    largest = sorted(decision.features.items(), key=lambda item: -abs(item[1]))
    for name, value in [item for item in largest if item[1]][:FEATURES_SHOWN]:
        features.add_row(name, f"{value:.4g}")
    console.print(features)
