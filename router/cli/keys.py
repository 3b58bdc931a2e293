"""``tollgate keys create|list|rotate|revoke``."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from router.cli.table import table_text
from router.clock import iso_of, parse_time_ms
from router.config.keys import (
    KEY,
    KINDS,
    LABEL_MESSAGE,
    LIMITS_MAX,
    WINDOWS,
    KeyLimit,
    KeysBook,
    StoredKey,
    is_label,
    keys_path,
    load_keys,
)
from router.config.load import load_policy, places_of, read_bytes
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.config.yaml_places import Places
from router.misspelt import meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

DAYS = re.compile(r"^(\d{1,5})d$")
GRACE_DAYS_MAX = 366
KEY_ID = re.compile(r"^[0-9a-f]{12}$")
DAY_MS = 86_400_000
PLAIN_AMOUNT = re.compile(r"^\d{1,12}(\.\d{1,12})?$", re.ASCII)
GRACE = re.compile(r"^(\d{1,5})([mhd])$")
UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": DAY_MS}
COLUMNS = (
    *("id", "state", "name", "team", "project", "tiers", "models", "tags", "limits"),
    *("created", "expires", "former until", "revoked"),
)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _book_path(policy: str | None, home: str | None) -> Path:
    """Where the keys are, by as much of the policy as can be read: a broken policy must not keep a key in force."""
    settings = load_settings(policy=policy, home=home)
    places = places_of(read_bytes(settings.policy_path), str(settings.policy_path))
    value = places.value if isinstance(places, Places) else None
    block = value.get("keys") if isinstance(value, dict) else None
    file = block.get("file") if isinstance(block, dict) else None
    return keys_path(settings.home, file if isinstance(file, str) else None, settings.policy_path)


def parse_expiry(text: str | None, now_ms: int) -> str | None:
    """The time of ``90d`` or of RFC 3339 text. Raises BadParameter on anything else, and on the past."""
    if text is None:
        return None
    match = DAYS.match(text)
    try:
        at_ms = now_ms + int(match.group(1)) * DAY_MS if match else parse_time_ms(text)
    except (ValueError, OverflowError):
        message = "must be days such as 90d, or a time such as 2027-01-01"
        raise typer.BadParameter(message, param_hint="--expires") from None
    if at_ms <= now_ms:
        raise typer.BadParameter("is in the past", param_hint="--expires")
    return iso_of(at_ms)


def create(
    *,
    labels: dict[str, str | None],
    tiers: list[str],
    models: list[str],
    tags: list[str],
    limits: list[KeyLimit],
    expires: str | None,
    policy: str | None,
    home: str | None,
    as_json: bool,
) -> int:
    """Make a key and print it, once. Raises BadParameter for what was asked, ConfigError for what is there."""
    settings = load_settings(policy=policy, home=home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    for option, label in labels.items():
        _require_label(f"--{option}", label)
    _require_known("--tier", tiers, loaded.quality_tiers)
    _require_known("--model", models, loaded.models)
    pairs = _tags_of(tags)
    until = parse_expiry(expires, _now_ms())
    path = keys_path(settings.home, loaded.keys_file, settings.policy_path)
    with KeysBook(path) as book:
        rights = {"tiers": tiers, "models": models, "tags": pairs, "limits": limits}
        secret, stored = book.create(_now_ms(), **labels, **rights, expires=until)
    if as_json:
        print(json.dumps({**_row(stored), "key": secret, "file": str(path)}, indent=2))  # noqa: T201  # shown once
    else:
        print(f"{secret}\n\nkey {stored.id}, stored as a hash in {path}; it is not shown again")  # noqa: T201
    return 0


def limits_of(amounts: Sequence[str], windows: Sequence[str], kinds: Sequence[str]) -> list[KeyLimit]:
    """The limits of ``--limit-usd``, ``--window`` and ``--kind``, each the n-th of its option. Raises BadParameter."""
    if len(windows) != len(amounts):
        raise typer.BadParameter("stands once for each --limit-usd", param_hint="--window")
    if kinds and len(kinds) != len(amounts):
        raise typer.BadParameter("stands once for each --limit-usd, or never", param_hint="--kind")
    if len(amounts) > LIMITS_MAX:
        raise typer.BadParameter(f"at most {LIMITS_MAX} of them", param_hint="--limit-usd")
    found: list[KeyLimit] = []
    for amount, window, kind in zip(amounts, windows, kinds or ["hard"] * len(amounts), strict=True):
        for option, text, known in (("--window", window, WINDOWS), ("--kind", kind, KINDS)):
            if text not in known:
                raise typer.BadParameter(f"must be {', '.join(known)}{meant(text, known)}", param_hint=option)
        found.append(_limit_of(amount, window, kind))
        if found[-1].name in [each.name for each in found[:-1]]:
            raise typer.BadParameter(f"gives a {kind} limit a {window} twice", param_hint="--limit-usd")
    return found


def _limit_of(amount: str, window: str, kind: str) -> KeyLimit:
    message = "must be an amount above 0 and at most 1000000000, with at most 9 decimals, such as 5 or 0.25"
    try:
        # An exponent would let ten characters stand for a number of a million digits.
        usd = Decimal(amount) if PLAIN_AMOUNT.match(amount) else None
        return KeyLimit.model_validate({"limit_usd": usd, "window": window, "kind": kind})
    except (InvalidOperation, ValidationError):
        raise typer.BadParameter(message, param_hint="--limit-usd") from None


def _require_label(option: str, label: str | None) -> None:
    if label is not None and not is_label(label):
        raise typer.BadParameter(LABEL_MESSAGE, param_hint=option)


def _require_known(option: str, names: list[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            hint = meant(name, known) or f"; it has {', '.join(known)}"
            raise typer.BadParameter(f"the policy has no `{name}`{hint}", param_hint=option)


def _tags_of(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise typer.BadParameter("must be name=value", param_hint="--tag")
        if name in found:
            raise typer.BadParameter(f"gives `{name}` twice", param_hint="--tag")
        _require_label("--tag", name)
        _require_label("--tag", value)
        found[name] = value
    return found


def _state_of(key: StoredKey, now_ms: int) -> str:
    if key.revoked is not None:
        return "revoked"
    return "expired" if key.expires is not None and parse_time_ms(key.expires) <= now_ms else "in force"


def _row(key: StoredKey) -> dict[str, object]:
    now_ms = _now_ms()
    row = key.model_dump(exclude={"salt", "hash", "limits", "former"})
    is_former_good = key.former is not None and parse_time_ms(key.former.until) > now_ms
    return {
        **row,
        "limits": [
            {"limit_usd": format(each.limit_usd, "f"), "window": each.window, "kind": each.kind} for each in key.limits
        ],
        "former_until": key.former.until if is_former_good and key.former is not None else None,
        "state": _state_of(key, now_ms),
    }


def _limit_text(limit: Mapping[str, str]) -> str:
    soft = "" if limit["kind"] == "hard" else " soft"
    return f"{limit['limit_usd']}/{limit['window']}{soft}"


def _cell(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(_limit_text(each) for each in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={each}" for name, each in value.items()) or "-"
    return (",".join(value) if isinstance(value, list) else str(value or "")) or "-"


def show(*, policy: str | None, home: str | None, as_json: bool) -> int:
    """List the keys."""
    path = _book_path(policy, home)
    rows = [_row(key) for key in load_keys(path).keys] if path.exists() else []
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201  # this command's output
    elif not rows:
        print(f"no keys in {path}: `tollgate keys create --team NAME` makes one")  # noqa: T201
    else:
        cells = [[_cell(row[column.replace(" ", "_")]) for column in COLUMNS] for row in rows]
        print(table_text(COLUMNS, cells, left=COLUMNS))  # noqa: T201  # this command's output
    return 0


def parse_grace(text: str) -> int:
    """Milliseconds of ``24h``, ``30m``, ``7d``, or of ``0``. Raises BadParameter."""
    match = GRACE.match(text)
    if match is None and text != "0":
        raise typer.BadParameter("must be a span such as 24h, 30m or 7d, or 0", param_hint="--grace")
    grace_ms = int(match[1]) * UNIT_MS[match[2]] if match else 0
    if grace_ms > GRACE_DAYS_MAX * DAY_MS:
        raise typer.BadParameter(f"is more than {GRACE_DAYS_MAX} days: make another key instead", param_hint="--grace")
    return grace_ms


def _id_of(text: str) -> str:
    """The key's id, of the id or of the key itself, which is never printed. Raises BadParameter."""
    whole = KEY.match(text)
    wanted = whole.group(1) if whole else text
    if not KEY_ID.match(wanted):
        raise typer.BadParameter("must be the 12 hex digits that `tollgate keys list` shows", param_hint="KEY_ID")
    return wanted


def rotate(key_id: str, *, grace: str, policy: str | None, home: str | None, as_json: bool) -> int:
    """Give a key a new secret and print it, once. Raises BadParameter for an unknown key or one that has ended."""
    wanted, grace_ms = _id_of(key_id), parse_grace(grace)
    path = _book_path(policy, home)
    try:
        with KeysBook(path) as book:
            secret, stored, has_third = book.rotate(wanted, _now_ms(), grace_ms)
    except KeyError:
        raise typer.BadParameter(f"no key in {path} has the id {wanted}", param_hint="KEY_ID") from None
    except ValueError as error:
        raise typer.BadParameter(f"{wanted} {error}", param_hint="KEY_ID") from None
    if as_json:
        print(json.dumps({**_row(stored), "key": secret, "file": str(path)}, indent=2))  # noqa: T201  # shown once
        return 0
    ends = "ended now" if stored.former is None else f"is good until {stored.former.until}"
    third = "; the one before that ended now" if has_third else ""
    print(f"{secret}\n\nkey {stored.id} has this new secret, which is not shown again; the former one {ends}{third}")  # noqa: T201
    return 0


def revoke(key_id: str, *, policy: str | None, home: str | None, as_json: bool) -> int:
    """Revoke a key by its id, or by the key itself, which is never printed. Raises BadParameter for an unknown one."""
    wanted = _id_of(key_id)
    path = _book_path(policy, home)
    try:
        with KeysBook(path) as book:
            stored = book.revoke(wanted, _now_ms())
    except KeyError:
        raise typer.BadParameter(f"no key in {path} has the id {wanted}", param_hint="KEY_ID") from None
    text = json.dumps(_row(stored), indent=2) if as_json else f"revoked {stored.id}"
    print(text)  # noqa: T201  # this command's output
    return 0
