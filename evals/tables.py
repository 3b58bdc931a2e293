"""The report's figures as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def show(found: dict[str, Any], console: Console | None = None) -> None:
    """Print every table."""
    console = console or Console(width=220)
    splits = ", ".join(f"{name} {count}" for name, count in found["splits"].items())
    console.print(
        f"model {found['model_revision']}, data {found['data_sha256'][:16]}, "
        f"splits {found['splits_sha256'][:16]} ({splits})"
    )
    _pairs(console, "test split", found["pairs"])
    _aiq(console, found["aiq"])
    _tolerance(console, "tolerance on the test split", found["tolerance"])
    _calibration(console, "calibration on the test split", found["calibration"])
    _steadiness(console, found["steadiness"])
    _attacks(console, found["attacks"])
    console.print(f"microseconds, features and eight models: {found['microseconds']}")
    console.print(f"artifact: {found['artifact_bytes'] / 1e6:.2f} MB")
    if "left_out" in found:
        _pairs(console, "sources left out of training", found["left_out"]["pairs"])
        for source, rows in found["left_out"]["sources"].items():
            _tolerance(console, f"tolerance with {source} left out, no label of it", rows["tolerance"])
            _calibration(console, f"calibration with {source} left out", rows["calibration"])


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.2f}..{figure['high']:.2f})"


def _pairs(console: Console, title: str, scopes: dict[str, Any]) -> None:
    for name, figure in (("apgr", "APGR"), ("auc_within", "AUC within category")):
        methods = list(next(iter(scopes.values()))["methods"]) if scopes else []
        table = Table(title=f"{figure}, {title} (95 % bootstrap over groups)")
        for column in ("scope (prompts)", *methods, "ours - LiteLLM heuristic"):
            table.add_column(column)
        for scope, rows in scopes.items():
            lead = rows["lead"].get("LiteLLM heuristic")
            table.add_row(
                f"{scope} ({rows['methods'][methods[0]]['prompts']})",
                *(_cell(rows["methods"][method][name]) for method in methods),
                _cell(lead) if lead and name == "apgr" else "",
            )
        console.print(table)
    table = Table(title=f"ours, {title}: share of strong calls for half and four fifths of the gap, AUC pooled")
    for column in ("scope", "CPT(50 %)", "CPT(80 %)", "AUC pooled"):
        table.add_column(column)
    for scope, rows in scopes.items():
        table.add_row(scope, *(_cell(rows["methods"]["ours"][name]) for name in ("cpt50", "cpt80", "auc")))
    console.print(table)


def _aiq(console: Console, rows: dict[str, Any]) -> None:
    table = Table(title="AIQ over models with list prices (evals/prices.py names the source of each)")
    for column in ("source (prompts, models)", "zero router", "ours", "oracle", "gap closed"):
        table.add_column(column)
    for source, row in rows.items():
        figures = (_cell(row[name]) for name in ("zero_router", "ours", "oracle", "gap_closed"))
        table.add_row(f"{source} ({row['prompts']}, {len(row['models'])})", *figures)
    console.print(table)


def _tolerance(console: Console, title: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    if not rows:
        return
    table = Table(title=f"{title}: realised loss, 95 % upper bound, saved, abstained")
    tolerances = [row["tolerance"] for row in next(iter(rows.values()))]
    for column in ("", *(f"t = {each}" for each in tolerances)):
        table.add_column(column)
    for name, each in rows.items():
        table.add_row(
            name,
            *(
                f"{row['loss']:+.3f} (<= {row['upper']:.3f}) saved {row['saved']:.0%}, abst. {row['abstained']:.0%}"
                + ("" if row["kept_upper"] else " ~" if row["kept"] else " BROKEN")
                for row in each
            ),
        )
    console.print(table)
    console.print("~ the loss is within the tolerance, its upper bound on these prompts is not")


def _calibration(console: Console, title: str, rows: dict[str, dict[str, float]]) -> None:
    table = Table(title=title)
    for column in ("source (prompts, outcomes)", "ECE", "Brier", "Brier of each model's mean"):
        table.add_column(column)
    for source, row in rows.items():
        table.add_row(
            f"{source} ({row['prompts']}, {row['outcomes']})",
            *(f"{row[name]:.3f}" for name in ("ece", "brier", "brier_base_rate")),
        )
    console.print(table)


def _steadiness(console: Console, found: dict[str, Any]) -> None:
    table = Table(title="decisions unchanged, at t = 0.05 and at each pair's median")
    for column in ("change", "at t = 0.05", "at the median"):
        table.add_column(column)
    for name, row in (*found["unchanged"].items(), ("mean", found["unchanged_mean"])):
        table.add_row(name, f"{row['at_tolerance']:.1%}", f"{row['at_median']:.1%}")
    console.print(table)


def _attacks(console: Console, rows: dict[str, dict[str, float]]) -> None:
    table = Table(title="under attack: decisions at each pair's median that flip; at t = 0.05 what is routed and lost")
    for column in ("attack", "to the weak model", "to the strong model", "routed", "loss", "highest bound", "saved"):
        table.add_column(column)
    for name, row in rows.items():
        shares = (f"{row[key]:.1%}" for key in ("to_weak", "to_strong", "routed"))
        table.add_row(name, *shares, f"{row['loss']:+.3f}", f"{row['upper']:.3f}", f"{row['saved']:.0%}")
    console.print(table)
