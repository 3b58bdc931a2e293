"""The command line of ``tollgate calibrate``; what it does is imported when it is called."""

from __future__ import annotations

from typing import Annotated

import typer

Dataset = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET", help="Graded answers, or with --live prompts: JSONL; graded also CSV, by the name's end."
    ),
]
Workload = Annotated[str, typer.Option(metavar="NAME", help="What the workload is called.")]
Match = Annotated[
    str, typer.Option(metavar="WHAT", help="Whose requests: all, key=ID, team=NAME, tag:NAME=VALUE or rule=NAME.")
]
Tolerance = Annotated[
    list[float] | None,
    typer.Option(metavar="X", min=0, max=1, help="A tolerance to judge; may be repeated [the policy's tiers]."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Take it over although it does not keep a tolerance, or is no better than the last."),
]
ShowList = Annotated[bool, typer.Option("--list", help="List the calibrations in force.")]
Show = Annotated[
    str | None, typer.Option(metavar="NAME", help="Print a workload's calibration as JSON, or that of `feedback`.")
]
Rollback = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Take a workload's newest version out of force; `feedback`: all labels so far."),
]
Live = Annotated[bool, typer.Option("--live", help="Ask the models and a judge for the grades, within the limit.")]
LimitUsd = Annotated[
    float, typer.Option("--limit-usd", metavar="X", min=0, help="Dollars that all live runs together may cost.")
]
Count = Annotated[int, typer.Option("--n", metavar="N", min=1, help="How many prompts are asked live, from the top.")]
Judge = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Who judges, of a third vendor; may be repeated [the best tier's]."),
]
Model = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="A candidate to ask live; may be repeated [all but premium]."),
]
Out = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Live: the graded prompts; the journal lies beside it [PROMPTS.graded.jsonl]."),
]
OutputTokens = Annotated[
    int | None,
    typer.Option("--output-tokens", metavar="N", min=1, help="Live: the longest answer [the policy's default]."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Live: print what it would cost, and ask nobody.")]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Policy file, or default, strict or local, which are shipped [env TOLLGATE_POLICY; default].",
    ),
]
Home = Annotated[
    str | None,
    typer.Option("--home", metavar="FOLDER", help="Folder of ledger and keys [env TOLLGATE_HOME; .tollgate]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def calibrate(
    dataset: Dataset = None,
    workload: Workload = "default",
    match: Match = "all",
    tolerance: Tolerance = None,
    force: Force = False,
    show_list: ShowList = False,
    show: Show = None,
    rollback: Rollback = None,
    live: Live = False,
    limit_usd: LimitUsd = 2.0,
    n: Count = 200,
    judge: Judge = None,
    model: Model = None,
    out: Out = None,
    output_tokens: OutputTokens = None,
    dry_run: DryRun = False,
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Calibrate the promise from graded answers.

    50 to 500 of one workload; with --live the models are asked and a judge grades. A running gateway takes the new
    version over within a second. Exit 1 where a line cannot be read, the labels are too few, the loss on held-back
    answers is not within the tolerance, or the version before does as well.
    """
    from router.cli import calibrate as run
    from router.cli import live_command

    if sum((dataset is not None, show_list, show is not None, rollback is not None)) != 1:
        raise typer.BadParameter("name one: a DATASET, --list, --show NAME or --rollback NAME")
    if show_list:
        raise typer.Exit(run.show_list(home=home, as_json=json))
    if show is not None:
        raise typer.Exit(run.show_one(show, home=home))
    if rollback is not None:
        raise typer.Exit(run.roll_back(rollback, home=home, as_json=json))
    assert dataset is not None
    asked = live_command.Live(
        dataset, limit_usd, n, tuple(judge or ()), tuple(model or ()), out, output_tokens, dry_run, policy, home, json
    )
    terms = run.Terms(workload, match, tuple(tolerance or ()), force, policy, home, json)
    raise typer.Exit(live_command.calibrate_live(asked, terms) if live else run.calibrate(dataset, terms))
