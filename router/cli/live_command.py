"""What ``tollgate calibrate --live`` says and does around the asking: estimate, progress, result."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from router.catalog import expected_cost_nanousd
from router.cli import calibrate
from router.cli.live import LiveRun, graded_of, plan_of, read_prompts, without_retries, write_graded
from router.cli.live_journal import Journal
from router.cli.streams import bar_console
from router.config.hosts import deployments_of, has_any_key
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.decide import weights_of
from router.errors import ConfigError
from router.features import features_of
from router.money import NANO_PER_USD, usd_of
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model
from router.token_priors import does_think

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.cli.calibrate import Terms
    from router.cli.live import Graded, Plan, Prompt
    from router.config.settings import Settings
    from router.policy import Policy
    from router.quality import QualityModel

VERDICT_TOKENS, VERDICT_THINKING_TOKENS = 80, 600
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Live:
    """What the command line asked for."""

    prompts: str
    limit_usd: float
    count: int
    judges: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    out: str | None = None
    output_tokens: int | None = None
    is_dry: bool = False
    policy: str | None = None
    home: str | None = None
    as_json: bool = False

    @property
    def limit_nanousd(self) -> int:
        """The limit in nano-USD."""
        return int(self.limit_usd * NANO_PER_USD)

    @property
    def out_path(self) -> Path:
        """Where the graded prompts go: beside the prompts, if nothing else was said."""
        return Path(self.out) if self.out is not None else Path(self.prompts).with_suffix(".graded.jsonl")

    @property
    def journal_path(self) -> Path:
        """Where the calls and the answers go."""
        out = self.out_path
        return out.with_name(out.name + ".journal")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking all prompts is expected to cost, and the most that one call can, in nano-USD."""

    calls: int
    expected_nanousd: int
    dearest_call_nanousd: int


def ask(live: Live) -> tuple[dict[str, Any], bool]:
    """Ask and write the graded prompts; what came of it, and whether nothing was found. Raises ConfigError."""
    settings = load_settings(policy=live.policy, home=live.home)
    prompts, findings = read_prompts(live.prompts, live.count)
    for finding in findings:
        typer.echo(finding, err=True)
    if not prompts:
        raise ConfigError(f"{live.prompts}: holds no prompt that could be read")
    said = _estimated(live, settings, prompts) if live.is_dry else asyncio.run(_asked(live, settings, prompts))
    if not live.as_json:
        typer.echo(shown(said))
    return said, not findings and not said.get("is_out_of_money", False)


def _estimated(live: Live, settings: Settings, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What it would cost; nothing is started, asked or written."""
    policy = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    is_simulated = settings.must_simulate or not has_any_key(policy, settings.env)
    reachable = policy.models if is_simulated else deployments_of(policy, settings.env, None)
    models = {name: replace(model, is_reachable=name in reachable) for name, model in policy.models.items()}
    plan = _plan_of(live, replace(policy, models=models))
    return about_of(live, prompts, plan, load_quality_model(None), is_simulated=is_simulated)


def _plan_of(live: Live, policy: Policy) -> Plan:
    return plan_of(policy, live.models, live.judges, live.output_tokens or policy.limits.output_tokens_default)


def about_of(
    live: Live, prompts: Sequence[Prompt], plan: Plan, quality: QualityModel, *, is_simulated: bool
) -> dict[str, Any]:
    """What is known before anybody is asked."""
    estimate = estimate_of(prompts, plan, quality)
    return {
        "prompts": len(prompts),
        "premium": plan.policy.premium,
        "judges": dict(plan.judges),
        "is_simulated": is_simulated,
        "calls": estimate.calls,
        "expected_usd": usd_of(estimate.expected_nanousd),
        "dearest_call_usd": usd_of(estimate.dearest_call_nanousd),
        "limit_usd": usd_of(live.limit_nanousd),
        "is_dry_run": live.is_dry,
    }


def calibrate_live(live: Live, terms: Terms) -> int:
    """Ask, then calibrate by what was graded; 1 where either finds something. Raises ConfigError and BadParameter."""
    calibrate.require_terms(terms)
    said, is_clean = ask(live)
    if live.is_dry or not said["graded"]:
        if live.as_json:
            typer.echo(json.dumps({"live": said}, indent=2))
        return 0 if is_clean and live.is_dry else 1
    code = calibrate.calibrate(str(live.out_path), terms, live=said)
    return code if is_clean else 1


async def _asked(live: Live, settings: Settings, prompts: Sequence[Prompt]) -> dict[str, Any]:
    from router.wiring import assembled

    async with assembled(settings) as ready:
        plan = _plan_of(live, ready.gateway.policy)
        said = about_of(live, prompts, plan, ready.gateway.quality, is_simulated=ready.is_simulated)
        with Journal(live.journal_path) as journal:
            run = LiveRun(without_retries(ready.gateway), plan, journal, live.limit_nanousd)
            await _with_progress(run, prompts)
            graded = graded_of(prompts, plan, journal)
            write_graded(live.out_path, graded.rows)
            return said | result_of(run, graded) | {"out": str(live.out_path), "journal": str(live.journal_path)}


def result_of(run: LiveRun, graded: Graded) -> dict[str, object]:
    """What came of it, over all runs of the journal."""
    journal = run.journal
    return {
        "spent_usd": usd_of(journal.spent_nanousd),
        "is_out_of_money": run.is_out_of_money,
        "asked": len(journal.done) + len(journal.cut_off),
        "cut_off": len(journal.cut_off),
        "failed": sum(each.text is None for each in journal.done.values()),
        "graded": len(graded.rows),
        "unreadable": graded.unreadable,
        "missing": graded.missing,
    }


async def _with_progress(run: LiveRun, prompts: Sequence[Prompt]) -> None:
    columns = (TextColumn("ask"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[usd]} USD"))
    with Progress(*columns, console=bar_console(), transient=True) as progress:
        task = progress.add_task("ask", total=len(prompts), usd=usd_of(run.journal.spent_nanousd))
        run.told = lambda: progress.update(task, advance=1, usd=usd_of(run.journal.spent_nanousd))
        await run.run(prompts)


def estimate_of(prompts: Sequence[Prompt], plan: Plan, quality: QualityModel) -> Estimate:
    """What the calls are expected to cost; answers are as long as the quality model expects them to be."""
    policy = plan.policy
    models = tuple(policy.models[name].provider_model for name in plan.models)
    calls, expected, dearest = 0, 0, 0
    for prompt in prompts:
        base = plan.answer_request(prompt, policy.premium)
        sizes = sizes_of(base)
        scores = quality.score(features_of(prompt_view_of(base, sizes)), models)
        visible: dict[str, int] = {}
        for name in plan.models:
            weights = weights_of(base, policy.models[name], policy, sizes, scores.output_tokens)
            visible[name] = weights.output_tokens
            calls, expected = calls + 1, expected + weights.expected_cost_nanousd
            dearest = max(dearest, plan.hold_of(plan.answer_request(prompt, name)))
        for name, judge in plan.judges.items():
            texts = ["x" * BYTES_PER_TOKEN * visible[each] for each in (policy.premium, name)]
            request = plan.judge_request(prompt, judge, *texts)
            calls, expected = calls + 2, expected + 2 * _verdict_cost(policy, judge, plan, request)
            dearest = max(dearest, plan.hold_of(request))
    return Estimate(calls, expected, dearest)


def _verdict_cost(policy: Policy, judge: str, plan: Plan, request: Any) -> int:  # noqa: ANN401  # a Request
    model = policy.models[judge]
    tokens = weights_of(request, model, policy, sizes_of(request), float(VERDICT_TOKENS)).input_tokens
    thinking = VERDICT_THINKING_TOKENS if does_think(plan.policy.models[judge]) else 0
    return expected_cost_nanousd(model.prices, tokens, 0, VERDICT_TOKENS, thinking)


def shown(said: dict[str, Any]) -> str:
    """The result for people."""
    judges = ", ".join(f"{name} (judge {judge})" for name, judge in said["judges"].items())
    lines = [
        f"{said['prompts']} prompts; premium {said['premium']}; {judges}",
        f"{said['calls']} calls, expected {said['expected_usd']} USD, the dearest at most {said['dearest_call_usd']}",
        f"limit {said['limit_usd']} USD over all runs",
    ]
    if said["is_simulated"]:
        lines.append("the vendors are simulated: their answers, and the judge's, carry no wisdom")
    if said["is_dry_run"]:
        return "\n".join([*lines, "nothing was asked"])
    lines += [
        f"spent {said['spent_usd']} USD on {said['asked']} calls, all runs of {said['journal']} together",
        f"{said['failed']} calls failed, {said['cut_off']} were cut off and are charged at their hold",
        f"{said['graded']} prompts graded in {said['out']}",
        f"{said['unreadable']} comparisons could not be read, {said['missing']} were not made",
    ]
    if said["is_out_of_money"]:
        lines.append("the limit is reached: run it again with a higher --limit-usd, and nothing is asked twice")
    return "\n".join(lines)
