"""``tollgate guards list|release|exempt``: what a running gateway's guards hold, and what an operator does about it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import typer

from router.cli.table import shown, table_text
from router.config.settings import load_settings
from router.errors import ConfigError, RequestError
from router.server.guards import exempt_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANSWER_S = 10.0
SCOPES = ("scope id", "state", "guard", "whose", "since", "tried again at", "refused", "leaked USD")
TRIPS = ("time", "guard", "action", "scope id", "whose", "leaked USD", "evidence", "by")


def guards_list(*, url: str | None, as_json: bool) -> int:
    """Print the scopes on the ladder and the latest trips. Raises BadParameter and ConfigError."""
    found = _asked(url, "GET", "/v1/guards")
    if as_json:
        print(json.dumps(found, indent=2))  # noqa: T201  # this command's output
        return 0
    scopes = [
        [
            each["scope_id"],
            each["state"],
            each["guard"],
            _whose(each),
            _minute(each["since"]),
            _minute(each["exempt_until"] or each["tried_again_at"]),
            str(each["refused"]),
            each["leaked_usd"],
        ]
        for each in found["scopes"]
    ]
    trips = [
        [
            _minute(each["time"]),
            each["guard"],
            each["action"],
            each["scope_id"],
            _whose(each),
            each["leaked_usd"],
            ", ".join(f"{name} {value}" for name, value in each["evidence"].items()),
            each["by"],
        ]
        for each in found["trips"]
    ]
    print(_section("Scopes on the ladder, or exempt", SCOPES, scopes))  # noqa: T201
    print(_section("Trips of the last week", TRIPS, trips))  # noqa: T201
    return 0


def guards_release(scope_id: str, *, url: str | None, as_json: bool) -> int:
    """End a stop. Raises BadParameter and ConfigError."""
    found = _asked(url, "POST", f"/v1/guards/{urllib.parse.quote(scope_id, safe='')}/release")
    return _told(found, f"{scope_id} is released", as_json=as_json)


def guards_exempt(scope_id: str, span: str, *, url: str | None, as_json: bool) -> int:
    """Let a scope pass for a while. Raises BadParameter and ConfigError."""
    try:
        exempt_ms(span)
    except RequestError as error:
        raise typer.BadParameter(error.message.removeprefix("for: "), param_hint="--for") from None
    path = f"/v1/guards/{urllib.parse.quote(scope_id, safe='')}/exempt"
    found = _asked(url, "POST", path, {"for": span})
    return _told(found, f"{scope_id} is exempt until {found['exempt_until']}", as_json=as_json)


def _told(found: Mapping[str, Any], text: str, *, as_json: bool) -> int:
    print(json.dumps(found, indent=2) if as_json else text)  # noqa: T201
    return 0


def _section(title: str, columns: Sequence[str], rows: list[list[str]]) -> str:
    return f"{title}\n\n{table_text(columns, rows, left=columns) if rows else 'none'}\n"


def _whose(each: Mapping[str, Any]) -> str:
    return shown(each["team"] or each["key_id"])


def _minute(text: str | None) -> str:
    return "" if text is None else f"{text[:16]}Z"


def _asked(url: str | None, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The gateway's answer. The admin key is TOLLGATE_ADMIN_KEY, where it is set."""
    settings = load_settings()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    where = (url or f"http://{host}:{settings.port}").rstrip("/")
    if not where.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://", param_hint="--url")
    headers = {"Content-Type": "application/json"}
    if settings.admin_key is not None:
        headers["x-api-key"] = settings.admin_key
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{where}{path}", data=data, headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310  # http and https only
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        raise _refusal_of(error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise ConfigError(
            f"{where}: no gateway answers there ({reason}); say --url, or start `tollgate serve`"
        ) from None


def _refusal_of(error: urllib.error.HTTPError) -> Exception:
    """A scope that is not there is a mistake on the command line, a key that may not is one of settings."""
    try:
        message = str(json.loads(error.read())["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        message = f"the gateway answered {error.code}"
    if error.code == HTTPStatus.NOT_FOUND:
        return typer.BadParameter(message, param_hint="SCOPE_ID")
    if error.code == HTTPStatus.UNAUTHORIZED:
        message += "; set TOLLGATE_ADMIN_KEY to the gateway's admin key"
    return ConfigError(message)
