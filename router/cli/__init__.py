"""The command line: each command's module is imported when it is called, so that ``--help`` costs nothing."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from router.cli.calibrate_command import calibrate as calibrate_command
from router.cli.guards_commands import app as guards_app
from router.cli.ledger import app as ledger_app
from router.cli.streams import say_full
from router.errors import EXIT_CODE, RouterError

EXIT_OK, EXIT_FINDINGS, EXIT_USAGE, EXIT_CONFIGURATION = 0, 1, 2, EXIT_CODE

app = typer.Typer(
    name="tollgate",
    epilog="Exit codes: 0 done, 1 findings, 2 a mistake on the command line, 3 a mistake in files or settings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
keys_app = typer.Typer(
    help="Virtual keys: who may ask, for which tiers and models.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(keys_app, name="keys")
app.add_typer(ledger_app, name="ledger")
app.add_typer(guards_app, name="guards")


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
JsonAnyway = Annotated[bool, typer.Option("--json", help="Print JSON, as it does without.")]


def _print_version(is_asked: bool) -> None:  # noqa: FBT001  # typer passes a flag's value
    if is_asked:
        from router import __version__

        typer.echo(f"tollgate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A cost-aware model routing gateway: the cheapest model that keeps your quality tolerance."""


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on [env TOLLGATE_HOST; 127.0.0.1].")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65_535, help="Port to listen on; 0 takes a free one [env TOLLGATE_PORT; 8080]."
        ),
    ] = None,
    policy: Policy = None,
    home: Home = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulate the vendors [env TOLLGATE_SIMULATE].")] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=64, help="Processes that serve the address [env TOLLGATE_WORKERS; 1]."),
    ] = None,
) -> None:
    """Start the gateway.

    With no provider key in the environment the vendors are simulated.
    """
    from router.config.settings import load_settings

    settings = load_settings(
        host=host, port=port, policy=policy, home=home, must_simulate=simulate or None, workers=workers
    )
    if settings.workers > 1:
        from router.workers import serve_with

        raise typer.Exit(serve_with(settings))
    from router.wiring import serve as run

    run(settings)


@app.command()
def check(
    policy: Annotated[
        str | None,
        typer.Argument(metavar="POLICY", help="Policy file, or a shipped one's name [env TOLLGATE_POLICY; default]."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are findings too.")] = False,
    json: Json = False,
) -> None:
    """Check a policy file.

    Every mistake as file:line: path: message. Exit 1 when there is one.
    """
    from router.cli.check import check_policy

    raise typer.Exit(check_policy(policy, as_json=json, is_strict=strict))


@app.command()
def schema(
    as_json: JsonAnyway = False,  # noqa: ARG001  # every command takes it
) -> None:
    """Print the JSON Schema of a policy, for editors."""
    import json

    from router.config.schema import policy_schema

    typer.echo(json.dumps(policy_schema(), indent=2))


@app.command()
def explain(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt, or - to read it from standard input.")],
    tier: Annotated[
        str | None, typer.Option(metavar="TIER", help="Quality tier; the policy's default without one.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(metavar="X", min=0, max=1, help="Tolerated mean loss in 0..1; wins over the tier.")
    ] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Whose request it would be.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A tag of the request; may be repeated.")
    ] = None,
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Explain what would answer a prompt, and why.

    The features that mattered, every candidate with its quality, cost and why it lost. No vendor is called. Exit 1
    when no model may serve it.
    """
    from router.cli.explain import explain_prompt

    raise typer.Exit(
        explain_prompt(
            prompt,
            tier=tier,
            tolerance=tolerance,
            policy=policy,
            as_json=json,
            team=team,
            tags=tag or [],
            home=home,
        )
    )


@app.command()
def score(
    prompts: Annotated[
        str,
        typer.Argument(metavar="PROMPTS", help="JSONL of {prompt_id, prompt} or {prompt_id, messages}; - for stdin."),
    ],
    policy: Policy = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Another model to score; may be repeated.")
    ] = None,
    only_policy: Annotated[
        bool, typer.Option("--only-policy", help="Score the policy's models and each --model alone.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write JSONL here instead of to standard output.")
    ] = None,
    json: JsonAnyway = False,  # noqa: ARG001  # every command takes it
) -> None:
    """Score many prompts, as JSONL.

    Complexity, and the expected quality of the policy's models and of every other model that is known.
    """
    from router.cli.score import score_file

    raise typer.Exit(score_file(prompts, policy=policy, models=model or [], out=out, only_policy=only_policy))


app.command()(calibrate_command)


@app.command()
def simulate(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Equal seeds give equal answers and bills.")] = 1,
    speed: Annotated[
        float, typer.Option(metavar="X", min=0, help="1 is as slow as the real vendors, 0 does not wait at all.")
    ] = 1.0,
    port_base: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_533, help="Three ports from here; 0 takes free ones.")
    ] = 8101,
) -> None:
    """Start the simulated vendors alone.

    Anthropic's, Gemini's and OpenAI-compatible hosts' wires.
    """
    from router.cli.simulate import run

    run(host=host, seed=seed, speed=speed, port_base=port_base)


@app.command()
def report(
    by: Annotated[
        str,
        typer.Option(
            metavar="FIELDS", help="team, project, key, model, tier, day, hour, minute or tag:<name>; comma-separated."
        ),
    ] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help="A span such as 7d, 12h, 2w, or a time.")] = "7d",
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="A time, such as 2026-12-01 [now].")] = None,
    chargeback: Annotated[
        bool, typer.Option("--chargeback", help="Report what each owner is charged; --by is then the team.")
    ] = False,
    context: Annotated[
        bool, typer.Option("--context", help="Report what inputs are made of and what of them is paid for again.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, csv, png or svg [what --out ends in; table]."),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write json, csv or a picture here instead of printing.")
    ] = None,
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Report what was spent and saved.

    What was spent, what premium would have cost, and the difference. A picture (png, svg) shows savings over time
    with their band, and cost by group, by model without --by, beside what premium would have cost.
    """
    chosen = "json" if json else form
    if chargeback and context:
        raise typer.BadParameter("is another report than --chargeback", param_hint="--context")
    if context:
        from router.cli.context import context as explain_inputs

        raise typer.Exit(
            explain_inputs(by=by, since=since, until=until, policy=policy, home=home, form=chosen, out=out)
        )
    if chargeback:
        from router.cli.chargeback import chargeback as charge

        raise typer.Exit(charge(by=by, since=since, until=until, policy=policy, home=home, form=chosen, out=out))
    from router.cli.report import report as run

    raise typer.Exit(run(by=by, since=since, until=until, policy=policy, home=home, form=chosen, out=out))


@app.command()
def budgets(
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="table, json or csv [what --out ends in; table].")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write json or csv here instead of printing.")] = None,
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show every budget and how far it is spent.

    Limit, settled, reserved and remaining of each owner, its window, and when it is exhausted at its own pace.
    """
    from router.cli.budgets import budgets as run

    raise typer.Exit(run(policy=policy, home=home, form="json" if json else form, out=out))


@keys_app.command("create")
def keys_create(
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Whose money it is.")] = None,
    project: Annotated[str | None, typer.Option(metavar="PROJECT", help="What it is spent on.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A name for people.")] = None,
    tier: Annotated[
        list[str] | None, typer.Option(metavar="TIER", help="An allowed quality tier; may be repeated.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="MODEL", help="An allowed model; may be repeated.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A tag name=value; may be repeated.")
    ] = None,
    limit_usd: Annotated[
        list[str] | None,
        typer.Option(metavar="USD", help="What the key may spend in a --window; may be repeated, with its window."),
    ] = None,
    window: Annotated[
        list[str] | None, typer.Option(metavar="WINDOW", help="hour, day, week, month or total, from UTC midnight.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="hard is never exceeded, soft counts and warns [hard].")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Days such as 90d, or a time such as 2027-01-01.")
    ] = None,
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown once, now, and stored as a hash."""
    from router.cli.keys import create, limits_of

    raise typer.Exit(
        create(
            labels={"team": team, "project": project, "name": name},
            tiers=tier or [],
            models=model or [],
            tags=tag or [],
            limits=limits_of(limit_usd or [], window or [], kind or []),
            expires=expires,
            policy=policy,
            home=home,
            as_json=json,
        )
    )


@keys_app.command("list")
def keys_list(policy: Policy = None, home: Home = None, json: Json = False) -> None:
    """List the keys, without their secrets."""
    from router.cli.keys import show

    raise typer.Exit(show(policy=policy, home=home, as_json=json))


@keys_app.command("rotate")
def keys_rotate(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The key's id, as `keys list` shows it, or the key itself.")
    ],
    grace: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the former secret stays good: 24h, 30m, 7d, or 0.")
    ] = "24h",
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Give a key a new secret; its id, rights and limits stay. It is shown once, now."""
    from router.cli.keys import rotate

    raise typer.Exit(rotate(key_id, grace=grace, policy=policy, home=home, as_json=json))


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The key's id, as `keys list` shows it, or the key itself.")
    ],
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Revoke a key; a running gateway refuses it within a second."""
    from router.cli.keys import revoke

    raise typer.Exit(revoke(key_id, policy=policy, home=home, as_json=json))


def main() -> None:
    """Run the command line; an error of ours is its message on standard error and exit code 3."""
    try:
        app()
    except RouterError as error:
        typer.echo(error.message, err=True)
    except OSError as error:
        say_full(error)
    sys.exit(EXIT_CONFIGURATION)
