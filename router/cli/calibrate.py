"""``tollgate calibrate``: graded answers in, a promise for one workload out."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from router.calibration import NO_LIMIT, Calibration, Match, labels_required
from router.catches import Judged, catches_of
from router.cli.calibrate_text import shown
from router.cli.graded import read_graded
from router.cli.table import table_text
from router.cli.verifier_text import COLUMNS as VERIFIER_COLUMNS
from router.cli.verifier_text import verifier_rows
from router.clock import SystemClock
from router.config import calibrations as store
from router.config import learned
from router.config.drifts import read_drifts
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.decide import weights_of
from router.drift import cuts_of
from router.errors import ConfigError
from router.features import features_of
from router.grading import (
    TOLERANCES,
    Labels,
    chosen_at,
    chosen_by,
    fit,
    held_back,
    outcome_of,
    support_floor_of,
    why_not_replace,
)
from router.money import usd_of
from router.policy import CHECK_NAMES
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from router.cli.graded import Dataset
    from router.drift import Drift
    from router.grading import Array, Fit, Outcome
    from router.policy import Policy
    from router.quality import QualityModel


@dataclass(frozen=True, slots=True)
class Terms:
    """What the command line asked for, but for the labels."""

    workload: str
    match: str
    tolerances: tuple[float, ...] = ()
    force: bool = False
    policy: str | None = None
    home: str | None = None
    as_json: bool = False


def match_of(text: str, policy: Policy) -> Match:
    """What ``--match`` means. Raises BadParameter."""
    kind, _, value = text.partition("=")
    if text == "all":
        return Match("all")
    if kind in ("key", "team", "rule") and value:
        if kind == "rule" and value not in {rule.name for rule in policy.rules}:
            raise typer.BadParameter(f"the policy has no rule {value!r}", param_hint="--match")
        return Match(kind, value)  # type: ignore[arg-type]
    if kind.startswith("tag:") and len(kind) > len("tag:") and value:
        return Match("tag", value, kind.removeprefix("tag:"))
    raise typer.BadParameter("must be all, key=ID, team=NAME, tag:NAME=VALUE or rule=NAME", param_hint="--match")


def resolver_of(policy: Policy) -> Callable[[str], str | None]:
    """From a model's name in the policy, at its provider or at its vendor to its ``provider_model``."""
    names = {model.provider_model: model.provider_model for model in policy.models.values()}
    for model in policy.models.values():
        names.setdefault(model.vendor_model, model.provider_model)
    names |= {name: model.provider_model for name, model in policy.models.items()}
    return names.get


def labels_of(dataset: Dataset, policy: Policy, quality: QualityModel) -> tuple[Labels, Any, Any]:
    """The labels, premium first; beside them the shipped losses (n, m) and thresholds (n, tolerances)."""
    ids = [policy.premium, *(name for name in policy.models if name != policy.premium)]
    models = tuple(policy.models[name].provider_model for name in ids)
    groups = {each: index for index, each in enumerate(dict.fromkeys(each.group for each in dataset.prompts))}
    rows: list[tuple[Any, ...]] = []
    for each in track(dataset.prompts, "score", console=Console(stderr=True), transient=True):
        sizes = sizes_of(each.request)
        scores = quality.score(features_of(prompt_view_of(each.request, sizes)), models)
        costs = [
            weights_of(each.request, policy.models[name], policy, sizes, scores.output_tokens).expected_cost_nanousd
            for name in ids
        ]
        graded = [each.scores.get(model, np.nan) for model in models]
        is_placed = [placed.basis != "none" for placed in scores.placement]
        losses = np.where(is_placed, quality.predicted_loss(scores, 0), np.inf)
        limits = [quality.threshold(t, scores.kind) if scores.has_ground else NO_LIMIT for t in TOLERANCES]
        rows.append(
            (scores.quality, graded, costs, scores.support, groups[each.group], scores.complexity, losses, limits)
        )
    parts = [np.array(column) for column in zip(*rows, strict=True)]
    return Labels(models, *parts[:6]), parts[6], parts[7]


def row_of(t: float, promise: str, threshold: str, came: Outcome, needed: int) -> dict[str, object]:
    """One line of the table, as JSON values."""
    return {
        "tolerance": t,
        "promise": promise,
        "threshold": threshold,
        "loss": round(came.loss, 4),
        "loss_high": round(came.loss_high, 4),
        "routed_share": round(came.routed_share, 4),
        "saved_usd": usd_of(came.saved_nanousd),
        "premium_cost_usd": usd_of(came.premium_nanousd),
        "labels_needed": needed,
    }


def before_rows(labels: Labels, losses: Array, limits: Array, tolerances: Sequence[float]) -> list[dict[str, object]]:
    """What the shipped calibration does on these prompts."""
    found = []
    everyone = np.ones(len(labels.models), dtype=bool)
    for t in tolerances:
        column = max(index for index, each in enumerate(TOLERANCES) if each <= t + 1e-9)
        mine = limits[:, column]
        came = outcome_of(labels, chosen_at(losses, mine, labels, everyone))
        is_shipped = bool((mine > NO_LIMIT).mean() >= 0.5)  # noqa: PLR2004  # what most of the prompts get
        shown = f"{np.median(mine[mine > NO_LIMIT]):.4f}" if (mine > NO_LIMIT).any() else "premium"
        found.append(row_of(t, "shipped" if is_shipped else "none", shown, came, labels_required(t)))
    return found


def after_rows(fitted: Fit, kept: dict[float, Outcome], count: int) -> list[dict[str, object]]:
    """What the new calibration does, on prompts that its fit did not see."""
    found = []
    for t, came in kept.items():
        threshold = fitted.thresholds.get(t)
        shown = "-" if threshold is None else "premium" if threshold == NO_LIMIT else f"{threshold:.4f}"
        needed = 0 if threshold is not None else max(0, labels_required(t) - count)
        found.append(row_of(t, "shipped" if threshold is None else "calibrated", shown, came, needed))
    return found


@dataclass(frozen=True, slots=True)
class Setting:
    """What labels are judged under."""

    policy: Policy
    home: Path
    quality: QualityModel
    match: Match
    name: str
    tolerances: tuple[float, ...]


def require_terms(terms: Terms) -> Setting:
    """What the terms mean. Raises BadParameter and ConfigError."""
    settings = load_settings(policy=terms.policy, home=terms.home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    wanted, name = match_of(terms.match, loaded), store.require_name(terms.workload)
    asked = tuple(sorted({t for t in terms.tolerances or loaded.quality_tiers.values() if t >= TOLERANCES[0]}))
    if not asked:
        raise typer.BadParameter(f"no tolerance of at least {TOLERANCES[0]} to calibrate", param_hint="--tolerance")
    return Setting(loaded, settings.home, load_quality_model(None), wanted, name, asked)


def calibrate(dataset: str, terms: Terms, live: dict[str, Any] | None = None) -> int:
    """Fit, judge on held-back answers, and take over; 1 where a line is bad, labels are few or the loss is not kept.

    ``live`` is what asking for the labels came to, where that was done just now; what simulated vendors were graded for
    is not taken over unasked, since it would outlast the simulation. Raises BadParameter and ConfigError.
    """
    setting = require_terms(terms)
    asked, premium = setting.tolerances, setting.policy.premium
    read = read_graded(dataset, resolver_of(setting.policy))
    for finding in read.findings:
        typer.echo(finding, err=True)
    if not read.prompts:
        raise ConfigError(f"{dataset}: holds no graded answer that could be read")
    labels, losses, limits = labels_of(read, setting.policy, setting.quality)
    inside = np.isfinite(labels.score[:, 0]) & np.isfinite(labels.score[:, 1:]).any(1)
    if not inside.any():
        raise ConfigError(f"{dataset}: no prompt has a score of {premium}, the premium model, and of another")
    usable, count = labels.only(inside), labels.count()
    fitted, kept = fit(labels, tuple(sorted({*TOLERANCES, *asked}))), held_back(labels, asked)
    former = former_of(setting, labels.models[0])
    came = {} if former is None else {t: outcome_of(usable, chosen_by(former, usable, t)) for t in asked}
    broken = [t for t in asked if kept[t].loss > t]
    kept_back = None if former is None else why_not_replace(former, fitted, came, kept)
    has_any = any(t in fitted.thresholds for t in asked)
    after = after_rows(fitted, kept, count)
    saved: Path | None = None
    is_simulated = live is not None and live["is_simulated"]
    if has_any and (terms.force or not (broken or kept_back or is_simulated)):
        made = made_of(setting, labels, fitted)
        saved = store.save(setting.home, made, about_of(dataset, labels, setting.policy, after))
    result = {
        "workload": setting.name, "match": str(setting.match), "lines": read.lines, "findings": list(read.findings),
        "prompts": len(read.prompts), "labels": count,
        "before": before_rows(usable, losses[inside], limits[inside], asked),
        "former": None if former is None else former.id, "former_rows": former_rows(former, came),
        "after": after, "not_kept": broken, "former_stays": kept_back,
        "saved": None if saved is None else str(saved), "live": live, "checks": checks_of(read, setting.policy),
    }  # fmt: skip
    typer.echo(json.dumps(result, indent=2) if terms.as_json else shown(result, has_any=has_any))
    return 0 if saved is not None and not read.findings else 1


def checks_of(read: Dataset, policy: Policy) -> dict[str, dict[str, object]]:
    """What the cascade's checks catch among the graded answers whose texts are there, by the policy's name."""
    names = {model.provider_model: name for name, model in policy.models.items() if name != policy.premium}
    verify = CHECK_NAMES if policy.cascade is None else policy.cascade.verify
    answers = [
        Judged(names[model], each.scores[model], each.request, text, reason)  # type: ignore[arg-type]  # read as one
        for each in read.prompts
        for model, (text, reason) in each.answers.items()
        if model in names and model in each.scores
    ]
    return {
        model: {
            "bad": each.bad,
            "caught": each.caught,
            "catch_rate": None if each.share is None else round(each.share, 4),
            "catch_rate_low": math.floor(each.share_low * 1e4) / 1e4,
            "good": each.good,
            "false_alarms": each.false_alarms,
            "by_check": dict(each.by_check),
        }
        for model, each in catches_of(answers, verify).items()
    }


def former_of(setting: Setting, premium: str) -> Calibration | None:
    """The version in force of the workload, where it can be compared: same quality model, same premium."""
    versions = store.versions_of(setting.home, setting.name)
    if not versions:
        return None
    try:
        found, _ = store.read(store.path_of(setting.home, setting.name, versions[-1]))
    except ConfigError as error:
        typer.echo(error.message, err=True)
        return None
    is_same = (found.quality_revision, found.premium) == (setting.quality.revision, premium)
    return found if is_same else None


def made_of(setting: Setting, labels: Labels, fitted: Fit) -> Calibration:
    """The next version."""
    return Calibration(
        name=setting.name,
        version=store.next_version(setting.home, setting.name),
        match=setting.match,
        quality_revision=setting.quality.revision,
        premium=labels.models[0],
        shifts={labels.models[i]: round(float(fitted.shifts[i]), 6) for i in np.flatnonzero(fitted.covers)},
        thresholds=fitted.thresholds,
        labels=labels.count(),
        support_floor=support_floor_of(labels),
        complexity_cuts=cuts_of(labels.usable().complexity),
    )


def former_rows(former: Calibration | None, came: dict[float, Outcome]) -> list[dict[str, object]]:
    """What the version in force does on these prompts."""
    found = []
    for t, each in came.items():
        threshold = None if former is None else former.threshold(t)
        shown = "-" if threshold is None else "premium" if threshold == NO_LIMIT else f"{threshold:.4f}"
        found.append(row_of(t, "shipped" if threshold is None else "calibrated", shown, each, 0))
    return found


def about_of(dataset: str, labels: Labels, policy: Policy, after: list[dict[str, object]]) -> dict[str, object]:
    """What people want to know of a version later: counts, hash, date, what was held back; no text."""
    from pathlib import Path

    counts = {model: labels.count(index) for index, model in enumerate(labels.models)}
    return {
        "made": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "data_sha256": hashlib.sha256(Path(dataset).read_bytes()).hexdigest(),
        "labels_by_model": counts,
        "policy_revision": policy.revision,
        "held_back": after,
    }


def show_list(*, home: str | None, as_json: bool) -> int:
    """Every workload with its version in force, and why one is refused."""
    settings = load_settings(home=home)
    revision = load_quality_model(None).revision
    loaded = store.load(settings.home, revision)
    drifts = read_drifts(settings.home)
    refused = list(loaded.refused)
    try:
        newest = learned.read_newest(settings.home)
        verifiers = verifier_rows(newest.adjustments if newest.quality_revision == revision else {})
    except ConfigError as error:
        verifiers = []
        refused.append(error.message)
    rows = [
        {
            "workload": each.name, "version": each.version, "match": str(each.match), "labels": each.labels,
            "drift": drift_text(each, drifts),
        }
        for each in sorted(loaded.calibrations.by_match.values(), key=lambda each: each.name)
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"calibrations": rows, "verifiers": verifiers, "refused": refused}, indent=2))
    else:
        cells = [[str(value) for value in row.values()] for row in rows]
        columns = ("workload", "version", "match", "labels", "drift")
        typer.echo(table_text(columns, cells, ("workload", "match", "drift")) if rows else "no calibration is in force")
        if verifiers:
            taught = [["-" if value is None else str(value) for value in row.values()] for row in verifiers]
            typer.echo("\n" + table_text(VERIFIER_COLUMNS, taught, ("verifier_of", "version", "state")))
        for why in refused:
            typer.echo(f"refused: {why}", err=True)
    return 1 if refused else 0


def drift_text(calibration: Calibration, drifts: Mapping[Match, Drift]) -> str:
    """How far the newest prompts are from the graded ones, as a gateway last looked."""
    found = drifts.get(calibration.match)
    if found is None or found.calibration != calibration.id:
        return "not known: too few requests, or an old version" if calibration.match.kind != "rule" else "not watched"
    state = "WITHDRAWN" if found.is_over else "as graded"
    return f"{state}: PSI {found.psi:.2f} of {found.limit:.2f} over {found.prompts} prompts"


def show_one(name: str, *, home: str | None) -> int:
    """The version in force of one workload, as JSON. Raises ConfigError where there is none."""
    folder = load_settings(home=home).home
    if name == learned.NAME:
        typer.echo(json.dumps(learned.content_of(learned.read_newest(folder)), indent=2))
        return 0
    versions = store.versions_of(folder, name)
    if not versions:
        raise ConfigError(f"{name}: no calibration of that name")
    found, about = store.read(store.path_of(folder, name, versions[-1]))
    typer.echo(json.dumps(store.content_of(found, about), indent=2))
    return 0


def roll_back(name: str, *, home: str | None, as_json: bool) -> int:
    """Take the newest version of a workload out of force; of feedback, all that was said up to now."""
    if name == learned.NAME:
        version = learned.forget(load_settings(home=home).home, SystemClock().now_ms())
        said = {"rolled_back": name, "in_force": f"{name}@{version}"}
        text = f"labels up to now count no more, within seconds ({name}@{version}); those that follow do"
        typer.echo(json.dumps(said) if as_json else text)
        return 0
    gone, now = store.roll_back(load_settings(home=home).home, name)
    holds = f"{name}@{now}" if now is not None else "the shipped calibration"
    result = {"rolled_back": f"{name}@{gone}", "in_force": holds}
    typer.echo(json.dumps(result) if as_json else f"{name}@{gone} is rolled back: {holds} is in force within a second")
    return 0
