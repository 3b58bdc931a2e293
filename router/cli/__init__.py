"""The command line: each command's module is imported when it is called, so that ``--help`` costs nothing."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from router.cli.ledger import app as ledger_app
from router.errors import RouterError

EXIT_OK, EXIT_FINDINGS, EXIT_USAGE, EXIT_CONFIGURATION = 0, 1, 2, 3

app = typer.Typer(
    name="tollgate",
    help="A cost-aware model routing gateway: the cheapest model that keeps your quality tolerance.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Virtual keys: who may ask, for which tiers and models.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(ledger_app, name="ledger")


Policy = Annotated[str | None, typer.Option("--policy", help="Policy file [env TOLLGATE_POLICY; default: shipped].")]
Home = Annotated[str | None, typer.Option("--home", help="Folder of ledger and keys [env TOLLGATE_HOME; .tollgate].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [env TOLLGATE_HOST; 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [env TOLLGATE_PORT; 8080].")] = None,
    policy: Policy = None,
    home: Home = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulate the vendors [env TOLLGATE_SIMULATE].")] = False,
) -> None:
    """Start the gateway; with no provider key in the environment the vendors are simulated."""
    from router.config.settings import load_settings
    from router.wiring import serve as run

    run(load_settings(host=host, port=port, policy=policy, home=home, must_simulate=simulate or None))


@app.command()
def check(
    policy: Annotated[str | None, typer.Argument(help="Policy file; the shipped default without one.")] = None,
    json: Json = False,
) -> None:
    """Check a policy file: every mistake as file:line: path: message. Exit 1 when there is one."""
    from router.cli.check import check_policy

    raise typer.Exit(check_policy(policy, as_json=json))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file, for editors."""
    import json

    from router.config.schema import policy_schema

    typer.echo(json.dumps(policy_schema(), indent=2))


@app.command()
def explain(
    prompt: Annotated[str, typer.Argument(help="The prompt, or - to read it from standard input.")],
    tier: Annotated[str | None, typer.Option(help="Quality tier; the policy's default without one.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Quality tolerance in 0..1; wins over the tier.")] = None,
    policy: Policy = None,
    json: Json = False,
) -> None:
    """Explain what would answer a prompt and why: features, candidates, costs. Nothing is called."""
    from router.cli.explain import explain_prompt

    raise typer.Exit(explain_prompt(prompt, tier=tier, tolerance=tolerance, policy=policy, as_json=json))


@app.command()
def score(
    prompts: Annotated[str, typer.Argument(help="JSONL of {prompt_id, prompt} or {prompt_id, messages}; - for stdin.")],
    policy: Policy = None,
    model: Annotated[list[str] | None, typer.Option(help="Another model to score; may be repeated.")] = None,
    out: Annotated[str | None, typer.Option(help="Write JSONL here instead of to standard output.")] = None,
) -> None:
    """Score many prompts: complexity, and each model's expected quality, as JSONL."""
    from router.cli.score import score_file

    raise typer.Exit(score_file(prompts, policy=policy, models=model or [], out=out))


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal answers and bills.")] = 1,
    speed: Annotated[float, typer.Option(help="1 is as slow as the real vendors, 0 does not wait at all.")] = 1.0,
    port_base: Annotated[int, typer.Option(help="Three ports from here; 0 takes free ones.")] = 8101,
) -> None:
    """Start the simulated vendors alone: Anthropic's, Gemini's and OpenAI-compatible hosts' wires."""
    from router.cli.simulate import run

    run(host=host, seed=seed, speed=speed, port_base=port_base)


@app.command()
def report(
    by: Annotated[str, typer.Option(help="team, project, key, model, tier, day or tag:<name>; comma-separated.")] = "",
    since: Annotated[str, typer.Option(help="A span such as 7d, 12h, 2w, or a time.")] = "7d",
    form: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Report what was spent, what premium would have cost, and what was saved."""
    from router.cli.report import report as run

    raise typer.Exit(run(by=by, since=since, policy=policy, home=home, form="json" if json else form))


@keys_app.command("create")
def keys_create(
    team: Annotated[str | None, typer.Option(help="Whose money it is.")] = None,
    project: Annotated[str | None, typer.Option(help="What it is spent on.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    tier: Annotated[list[str] | None, typer.Option(help="An allowed quality tier; may be repeated.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="An allowed model; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag name=value; may be repeated.")] = None,
    expires: Annotated[str | None, typer.Option(help="Days such as 90d, or a time such as 2027-01-01.")] = None,
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown once, now, and stored as a hash."""
    from router.cli.keys import create

    fields: dict[str, object] = {"team": team, "project": project, "name": name}
    fields |= {"tiers": tier or [], "models": model or []}
    raise typer.Exit(create(fields, tags=tag or [], expires=expires, policy=policy, home=home, as_json=json))


@keys_app.command("list")
def keys_list(policy: Policy = None, home: Home = None, json: Json = False) -> None:
    """List the keys, without their secrets."""
    from router.cli.keys import show

    raise typer.Exit(show(policy=policy, home=home, as_json=json))


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    policy: Policy = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Revoke a key; a running gateway refuses it within a second."""
    from router.cli.keys import revoke

    raise typer.Exit(revoke(key_id, policy=policy, home=home, as_json=json))


def main() -> None:
    """Run the command line; an error of ours is one message and exit code 3."""
    try:
        app()
    except RouterError as error:
        typer.echo(error.message, err=True)
        sys.exit(EXIT_CONFIGURATION)
