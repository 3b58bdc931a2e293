"""`python -m evals docs`: the tables of docs/quality.md and docs/promise.md, from the result files: none is typed.

A table stands between ``<!-- evals: NAME -->`` and ``<!-- end -->``. A test compares documents, result files and the
shipped artifact's revision.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evals.splits import METHODS, TOLERANCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Results = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "evals" / "results"
DOCUMENTS: Final = (ROOT / "docs" / "quality.md", ROOT / "docs" / "promise.md")
FILES: Final = ("report", "promise", "newcomer", "seeds", "machines", "drift", "verifier")
PLACE: Final = re.compile(r"(?P<open><!-- evals: (?P<name>[a-z- _0-9]+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)
# Sources with fewer outcomes on the test split stand in the table of calibration alone.
LARGE: Final = 3000
BARS: Final = (
    ("mean APGR, sources seen", ">= 0.62", ">= 0.68"),
    ("RouteLLM MMLU / GSM8K pair APGR", ">= 0.66 / 0.64", ">= 0.72 / 0.70"),
    ("AUC within category", ">= 0.57", ">= 0.62"),
    ("mean APGR, unseen sources", ">= 0.55", ">= 0.62"),
    ("AIQ gap closed, ZeroEval / MMLU-Pro", ">= 10 % / 6 %", ">= 25 % / 20 %"),
    ("tolerance kept on seen sources, t = 0.02, 0.05, 0.10", "all", "all, 50 % saved at 0.05"),
    (
        "tolerance kept, unseen workload: no label / 200 ([promise.md](promise.md))",
        "80 % / 95 %",
        "all / all, 35 % saved at 0.05",
    ),
    ("ECE, sources seen", "<= 0.03", "<= 0.015"),
    ("a new model from 50 / 200 labels: loss error ([promise.md](promise.md))", "<= 0.06 / 0.03", "<= 0.04 / 0.02"),
    ("decisions unchanged under noise", ">= 90 %", ">= 97 %"),
    ("microseconds at 200 / 2k / 40k tokens", "<= 150 / 400 / 2,000", "<= 60 / 150 / 600"),
    ("artifact", "<= 4 MB", "<= 1 MB"),
)
AUCS: Final = ("auc_expected", "auc_taught")
OTHERS: Final = ("random", "prompt length", "category prior", "LiteLLM heuristic", "LiteLLM heuristic_v2")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are words, the others figures."""
    rule = "|" + "|".join(["---"] * left + ["--:"] * (len(head) - left)) + "|"
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _with_interval(row: dict[str, float], digits: int = 3) -> str:
    return f"{row['value']:.{digits}f} ({row['low']:.2f} .. {row['high']:.2f})"


def pairs_table(scopes: dict[str, Any]) -> str:
    """Every method on every pair, source and over all."""
    rows = []
    for scope, found in scopes.items():
        methods, is_pair = found["methods"], scope.startswith("pair: ")
        figures = [f"{methods[name]['apgr']['value']:.3f}" for name in OTHERS]
        ours = methods["ours"]
        rows.append([
            scope.removeprefix("pair: ") if is_pair else f"**{scope.replace('source: ', 'source ')}**",
            str(ours["prompts"]), *figures, _with_interval(ours["apgr"]), f"{methods['oracle']['apgr']['value']:.3f}",
            _with_interval(ours["auc_within"]),
        ])  # fmt: skip
    heads = ("random", "length", "category prior", "LiteLLM heuristic", "heuristic_v2", "ours", "oracle")
    return table(("scope", "prompts", *heads, "AUC within category, ours"), rows)


def tolerance_table(cases: dict[str, list[dict[str, Any]]]) -> str:
    """Realised loss, its bound and the saving of each case at each tolerance."""

    def cell(row: dict[str, Any]) -> str:
        mark = "" if row["kept_upper"] else " ~" if row["kept"] else " **broken**"
        return f"{row['loss']:+.3f} (<= {row['upper']:.3f}), saved {row['saved']:.0%}{mark}"

    tolerances = [row["tolerance"] for row in next(iter(cases.values()))]
    return table(
        ("", *(f"t = {t:.2f}" for t in tolerances)), [[name, *map(cell, rows)] for name, rows in cases.items()]
    )


def calibration_table(rows: dict[str, dict[str, float]]) -> str:
    """ECE and Brier by source."""
    figures = [
        [name, f"{row['outcomes']:.0f}", *(f"{row[key]:.3f}" for key in ("ece", "brier", "brier_base_rate"))]
        for name, row in rows.items()
    ]
    return table(("source", "outcomes", "ECE", "Brier", "Brier of each model's mean"), figures)


def aiq_table(rows: dict[str, Any]) -> str:
    """AIQ of the zero router, ours and the oracle."""
    found = []
    for source, row in rows.items():
        cells = [_with_interval(row[key]) for key in ("zero_router", "ours", "oracle", "gap_closed")]
        found.append([f"{source} ({len(row['models'])})", str(row["prompts"]), *cells])
    return table(("models of", "prompts", "zero router", "ours", "oracle", "gap closed"), found)


def steadiness_table(found: dict[str, Any]) -> str:
    """Decisions unchanged under each change that means nothing."""
    rows = [*found["unchanged"].items(), ("**mean**", found["unchanged_mean"])]
    return table(
        ("change", "unchanged at t = 0.05", "at each pair's median"),
        [[name, f"{row['at_tolerance']:.1%}", f"{row['at_median']:.1%}"] for name, row in rows],
    )


def attacks_table(rows: dict[str, Any]) -> str:
    """What an attack flips, and what it costs."""
    shares = ("to_weak", "to_strong", "routed")
    return table(
        ("attack", "flips to the weak model", "to the strong", "routed at t = 0.05", "mean loss", "saved"),
        [
            [name, *(f"{row[key]:.1%}" for key in shares), f"{row['loss']:+.4f}", f"{row['saved']:.1%}"]
            for name, row in rows.items()
        ],
    )


def seeds_table(figures: dict[str, Sequence[float]]) -> str:
    """Each judged figure's mean and range over the seeds."""
    rows = []
    for name, values in figures.items():
        digits = 0 if name.startswith("cases") else 3
        cells = [
            f"{sum(values) / len(values):.{max(digits, 1)}f}",
            f"{min(values):.{digits}f} .. {max(values):.{digits}f}",
        ]
        rows.append([name, *cells, ", ".join(f"{value:.{digits}f}" for value in values)])
    return table(("figure", "mean", "range", "seeds 0, 1, 2"), rows)


def machines_table(rows: dict[str, Any]) -> str:
    """Decisions and scores on other processors, threads and versions."""
    found = []
    for name, row in rows.items():
        changed = f"{row['changed']} of {row['decisions']}"
        found.append([name, row["about"], changed, f"{row['largest_difference']:.1e}"])
    return table(("setting", "of", "decisions changed", "largest difference of a score"), found, left=2)


def halves_table(found: dict[str, Any]) -> str:
    """Over random halves: shares broken and what is saved, three kinds of threshold side by side."""

    def cells(by_method: dict[str, list[dict[str, Any]]]) -> list[str]:
        rows = []
        for at in range(len(TOLERANCES)):
            mine = [by_method[method][at] for method in METHODS]
            rows.append(" / ".join(f"{row['broken']:.1%}".replace(".0%", "%") for row in mine))
            rows.append(" / ".join(f"{row['saved']:.0%}" for row in mine))
        return rows

    rows = [[case, *cells(each)] for case, each in found["seen"].items()]
    rows.append(["**mean of the twelve**", *cells(found["seen_mean"])])
    worst = ["**worst, 95 % interval**"]
    for at in range(len(TOLERANCES)):
        mine = [found["seen_mean"][method][at] for method in METHODS]
        cell = (
            f"{row['broken_worst']:.1%} ({row['broken_worst_low']:.1%} .. {row['broken_worst_high']:.1%})"
            for row in mine
        )
        worst += [" / ".join(each.replace(".0%", "%") for each in cell), ""]
    return table(("case", *(each for t in TOLERANCES for each in (f"t = {t:.2f}: broken", "saved"))), [*rows, worst])


def unseen_table(found: dict[str, Any]) -> str:
    """Workloads never seen, over all cases, by the number of labels."""
    rows = [
        [count, f"{row['kept']:.1%}", f"{row['abstained']:.0%}", *(f"{row[f'saved_{t:g}']:.1%}" for t in TOLERANCES)]
        for count, row in found["unseen_mean"].items()
    ]
    heads = ("kept or abstained", "abstained altogether", *(f"saved at t = {t:g}" for t in TOLERANCES))
    return table(("labels", *heads), rows, left=0)


def unseen_cases_table(found: dict[str, Any]) -> str:
    """The same by case."""
    rows = []
    for case, counts in found["unseen"].items():
        for number, (count, each) in enumerate(counts.items()):
            cells = []
            for row in each:
                cells += [f"{row['kept']:.0%} ({row['abstained']:.0%})", f"{row['loss']:+.3f}", f"{row['saved']:.0%}"]
            rows.append([case if number == 0 else "", count, *cells])
    heads = (each for t in TOLERANCES for each in (f"t = {t:.2f}: kept (abstained)", "loss", "saved"))
    return table(("case", "labels", *heads), rows)


def newcomer_table(found: dict[str, Any]) -> str:
    """A model that arrives new: error of its loss and share of the Brier gap closed, by labels."""

    def cell(row: dict[str, float]) -> str:
        return f"{row['loss_error']:.3f}, {row['gap_closed']:.0%}"

    rows = []
    for name, one in found["models"].items():
        prior = f"{one['prior']:.2f} +- {one['prior_width']:.2f}, {one['basis']} figures".replace(
            "model figures", "model"
        )
        rows += [[name, prior, source, *map(cell, each.values())] for source, each in one["sources"].items()]
    rows.append(["**mean**", "", "", *map(cell, found["mean"].values())])
    counts = (f"{count} labels" if count != "all" else "all" for count in found["mean"])
    return table(("model", "its prior", "source", *counts), rows, left=3)


def drift_table(found: dict[str, Any]) -> str:
    """Alarms by how many prompts came in, of which workload."""
    rows = [
        [
            f"{coming} prompts",
            str(found["workloads"][coming]),
            *(f"{row[what]:.1%}" for what in ("same", "half", "others")),
        ]
        for coming, row in found["alarms"].items()
    ]
    return table(("came in", "workloads", "of the same workload", "half of another", "all of another"), rows)


def verifier_table(found: dict[str, Any]) -> str:
    """How often the verifier is in force by chance and by signs, and what it fails, by workload and labels."""
    rows = [
        [name, count, *("-" if value is None else f"{value:.1%}" for value in row.values())]
        for name, by_count in found["workloads"].items()
        for count, row in by_count.items()
    ]
    head = ("workload", "labels", "in force by chance", "ever until then", "in force where marks tell")
    return table((*head, "bad answers failed", "good answers failed"), rows)


def length_table(found: dict[str, Any]) -> str:
    """What the length of real graded answers tells a verifier, by source and labels."""
    rows = [
        [source, str(row["workloads"]), count, f"{each['in_force']:.1%}", *(f"{each[key]:.3f}" for key in AUCS)]
        for source, row in found["by_length"].items()
        for count, each in row.items()
        if count != "workloads"
    ]
    head = ("source", "models", "labels", "in force", "AUC by what was expected", "AUC with what was taught")
    return table(head, rows)


def head_line(report: Results) -> str:
    """Which model, data and splits the figures are of."""
    splits = ", ".join(f"{name} {count}" for name, count in report["splits"].items())
    return (
        f"Model {report['model_revision']}, data {report['data_sha256'][:16]}, splits {report['splits_sha256'][:16]} "
        f"({splits}, by group of twins).\n"
    )


def bars_table(results: dict[str, Results]) -> str:
    """Every figure that is judged beside its bar and its goal."""
    reached = [*_reached_by_order(results["report"]), *_reached_by_promise(results), *_reached_by_speed(results)]
    rows = [[*bar, cell] for bar, cell in zip(BARS, reached, strict=True)]
    head, _, body = table(("figure", "bar", "goal", "reached (95 % interval)"), rows).split("\n", 2)
    return f"{head}\n|---|--:|--:|---|\n{body}"


def _reached_by_order(report: Results) -> list[str]:
    """How well prompts are ordered, and what that is worth."""
    seen, apart = (each["all pairs"]["methods"]["ours"] for each in (report["pairs"], report["left_out"]["pairs"]))
    famous = [report["pairs"][f"pair: GPT-4 / Mixtral, {name}"]["methods"]["ours"] for name in ("MMLU", "GSM8K")]
    gaps = [report["aiq"][name]["gap_closed"] for name in ("zeroeval", "mmlu_pro")]
    return [
        _with_interval(seen["apgr"]),
        " / ".join(_with_interval(each["apgr"]) for each in famous),
        _with_interval(seen["auc_within"]),
        _with_interval(apart["apgr"]),
        " / ".join(f"{row['value']:.1%} ({row['low']:.0%} .. {row['high']:.0%})" for row in gaps),
    ]


def _reached_by_promise(results: dict[str, Results]) -> list[str]:
    """What is kept, and how far predictions and places are off."""
    report, unseen = results["report"], results["promise"]["unseen_mean"]
    cases = report["tolerance"].values()
    cells = [[row for case in cases for row in case if row["tolerance"] == t] for t in TOLERANCES]
    kept, bound = (", ".join(str(sum(row[key] for row in each)) for each in cells) for key in ("kept", "kept_upper"))
    saved = sum(row["saved"] for row in cells[1]) / len(cells[1])
    errors = " / ".join(f"{results['newcomer']['mean'][count]['loss_error']:.3f}" for count in ("50", "200"))
    ece = (f"{name} {row['ece']:.3f}" for name, row in report["calibration"].items() if row["outcomes"] >= LARGE)
    return [
        f"mean loss within t: {kept} of {len(cases)}; its bound too: {bound}; {saved:.0%} saved at 0.05",
        f"{unseen['0']['kept']:.1%} / {unseen['200']['kept']:.1%}; {unseen['200']['saved_0.05']:.0%} saved at 0.05",
        f"{', '.join(ece)}; small ones below",
        errors,
    ]


def _reached_by_speed(results: dict[str, Results]) -> list[str]:
    report = results["report"]
    steady = report["steadiness"]["unchanged_mean"]
    speeds = " / ".join(f"{value:.0f}" for value in report["microseconds"].values())
    return [
        f"{steady['at_tolerance']:.1%} at t = 0.05, {steady['at_median']:.1%} at each pair's median",
        f"{speeds} (cores shared with other work)",
        f"{report['artifact_bytes'] / 1e6:.2f} MB",
    ]


def tables_of(results: dict[str, Results]) -> dict[str, str]:
    """Every table by its name in the documents."""
    report, promise = results["report"], results["promise"]
    apart = report["left_out"]
    return {
        "head": head_line(report),
        "bars": bars_table(results),
        "tolerance": tolerance_table(report["tolerance"]),
        "pairs": pairs_table(report["pairs"]),
        "aiq": aiq_table(report["aiq"]),
        "calibration": calibration_table(report["calibration"]),
        "steadiness": steadiness_table(report["steadiness"]),
        "attacks": attacks_table(report["attacks"]),
        "left-out pairs": pairs_table(apart["pairs"]),
        "left-out calibration": calibration_table(
            {name: each["calibration"][name] for name, each in apart["sources"].items() if each["tolerance"]}
        ),
        **{
            f"without {name}": tolerance_table(each["tolerance"])
            for name, each in apart["sources"].items()
            if each["tolerance"]
        },
        "seeds": seeds_table(results["seeds"]["figures"]),
        "machines": machines_table(results["machines"]["settings"]),
        "halves": halves_table(promise),
        "unseen": unseen_table(promise),
        "unseen cases": unseen_cases_table(promise),
        "newcomer": newcomer_table(results["newcomer"]),
        "drift": drift_table(results["drift"]),
        "verifier": verifier_table(results["verifier"]),
        "verifier by length": length_table(results["verifier"]),
    }


def filled(text: str, tables: dict[str, str]) -> str:
    """The document with every marked table as the results have it. Raises KeyError for a table that is none."""
    return PLACE.sub(lambda found: found["open"] + tables[found["name"]] + found["close"], text)


def read_results(folder: Path = RESULTS) -> dict[str, Results]:
    """Every result file by its name."""
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in FILES}


def write_documents(folder: Path = RESULTS, documents: Iterable[Path] = DOCUMENTS) -> None:
    """Fill every table of the documents anew."""
    tables = tables_of(read_results(folder))
    for document in documents:
        document.write_text(filled(document.read_text(encoding="utf-8"), tables), encoding="utf-8")
