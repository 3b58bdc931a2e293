"""The commands of ``tollgate guards``; what they do is imported when they are called."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Guards: what they stopped, and what you do about it.", no_args_is_help=True, rich_markup_mode=None
)
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The running gateway [by TOLLGATE_HOST and TOLLGATE_PORT]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ScopeId = Annotated[str, typer.Argument(metavar="SCOPE_ID", help="The scope's id, as `guards list` shows it.")]


@app.command("list")
def list_(url: Url = None, json: Json = False) -> None:
    """List what guards hold or watch, and the trips of the last week."""
    from router.cli.guards import guards_list

    raise typer.Exit(guards_list(url=url, as_json=json))


@app.command("release")
def release(scope_id: ScopeId, url: Url = None, json: Json = False) -> None:
    """End a stop or a throttle at once."""
    from router.cli.guards import guards_release

    raise typer.Exit(guards_release(scope_id, url=url, as_json=json))


@app.command("exempt")
def exempt(
    scope_id: ScopeId,
    span: Annotated[str, typer.Option("--for", metavar="SPAN", help="For how long: 30m, 2h or 7d, at most 30d.")],
    url: Url = None,
    json: Json = False,
) -> None:
    """Let everything of a scope pass for a while."""
    from router.cli.guards import guards_exempt

    raise typer.Exit(guards_exempt(scope_id, span, url=url, as_json=json))
