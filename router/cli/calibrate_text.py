"""What ``tollgate calibrate`` tells people: the promise before and after, and what a cascade's checks catch."""

from __future__ import annotations

from typing import Any

from router.cli.table import table_text

COLUMNS = ("tolerance", "promise", "threshold", "loss", "95 % bound", "routed", "saved USD", "of", "labels needed")


def shown(result: dict[str, Any], *, has_any: bool) -> str:
    """The result for people."""
    lines = [
        f"{result['workload']} ({result['match']}): {result['prompts']} prompts, {result['labels']} with a loss",
        "",
    ]
    titles = (
        ("before: the shipped calibration", "before"),
        (f"in force: {result['former']}", "former_rows"),
        ("after, on answers held back from the fit", "after"),
    )
    for title, key in titles:
        if not result[key]:
            continue
        rows = [
            (
                f"{each['tolerance']:g}", each["promise"], each["threshold"], f"{each['loss']:.4f}",
                f"{each['loss_high']:.4f}",
                f"{each['routed_share']:.1%}", each["saved_usd"], each["premium_cost_usd"], str(each["labels_needed"]),
            )
            for each in result[key]
        ]  # fmt: skip
        lines += [title, table_text(COLUMNS, rows, ("promise",)), ""]
    if result["checks"]:
        lines += [*checks_text(result["checks"]), ""]
    if result["saved"]:
        lines.append(f"in force within a second: {result['saved']}")
    elif not has_any:
        lines.append("nothing is changed: too few labels for any of these tolerances")
    elif result["live"] is not None and result["live"]["is_simulated"]:
        lines.append(
            "nothing is changed: these grades are of simulated vendors, and would stay in force when real ones answer; "
            "--force takes them over"
        )
    elif result["former_stays"] and not result["not_kept"]:
        lines.append(f"{result['former']} stays: {result['former_stays']}; --force replaces it")
    else:
        broken = ", ".join(f"{t:g}" for t in result["not_kept"])
        lines.append(f"nothing is changed: the held-back loss exceeds the tolerance at {broken}; --force takes it over")
    return "\n".join(lines)


def checks_text(checks: dict[str, dict[str, Any]]) -> list[str]:
    """What the checks catch, and the lines of a policy that say so."""
    rows = [
        (
            model, str(each["bad"]), str(each["caught"]), f"{each['catch_rate_low']:.3f}", str(each["good"]),
            str(each["false_alarms"]), ", ".join(f"{name} {count}" for name, count in each["by_check"].items()) or "-",
        )
        for model, each in checks.items()
    ]  # fmt: skip
    columns = ("model", "bad answers", "caught", "at least", "good", "false alarms", "by check")
    stated = ", ".join(f"{model}: {each['catch_rate_low']:.3f}" for model, each in checks.items())
    return [
        "checks on these answers, and what a policy may state of them",
        table_text(columns, rows, ("model", "by check")),
        f"cascade:\n  catch_rate: {{{stated}}}",
    ]
