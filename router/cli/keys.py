"""``tollgate keys create|list|revoke``."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from router.clock import iso_of, parse_time_ms
from router.config.keys import KeysBook, keys_path, load_keys
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from router.policy import Policy

DAYS = re.compile(r"^(\d{1,5})d$")
DAY_MS = 86_400_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _place(policy: str | None, home: str | None) -> tuple[Path, Policy]:
    settings = load_settings(policy=policy, home=home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    return keys_path(settings.home, loaded, settings.policy_path), loaded


def parse_expiry(text: str | None, now_ms: int) -> str | None:
    """The time of ``90d`` or of RFC 3339 text. Raises ConfigError on anything else, and on the past."""
    if text is None:
        return None
    match = DAYS.match(text)
    try:
        at_ms = now_ms + int(match.group(1)) * DAY_MS if match else parse_time_ms(text)
    except ValueError:
        raise ConfigError("--expires: must be days such as 90d, or a time such as 2027-01-01") from None
    if at_ms <= now_ms:
        raise ConfigError("--expires: is in the past")
    return iso_of(at_ms)


def create(
    fields: dict[str, object],
    *,
    tags: list[str],
    expires: str | None,
    policy: str | None,
    home: str | None,
    as_json: bool,
) -> int:
    """Make a key and print it, once."""
    path, loaded = _place(policy, home)
    for name, known in (("tiers", loaded.quality_tiers), ("models", loaded.models)):
        wanted = fields[name]
        assert isinstance(wanted, list)
        unknown = [each for each in wanted if each not in known]
        if unknown:
            raise ConfigError(f"--{name[:-1]}: the policy has no {unknown[0]!r}; it has {', '.join(known)}")
    pairs = dict(_tag_of(each) for each in tags)
    with KeysBook(path) as book:
        secret, stored = book.create(_now_ms(), **fields, tags=pairs, expires=parse_expiry(expires, _now_ms()))
    if as_json:
        print(json.dumps({"id": stored.id, "key": secret, "file": str(path)}))  # noqa: T201  # shown once
    else:
        print(f"{secret}\n\nkey {stored.id}, stored as a hash in {path}; it is not shown again")  # noqa: T201
    return 0


def _tag_of(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ConfigError("--tag: must be name=value")
    return name, value


def show(*, policy: str | None, home: str | None, as_json: bool) -> int:
    """List the keys."""
    path, _ = _place(policy, home)
    keys = [key.model_dump(exclude={"salt", "hash"}) for key in load_keys(path).keys]
    if as_json:
        print(json.dumps(keys, indent=2))  # noqa: T201  # this command's output
        return 0
    table = Table(title=str(path))
    for column in ("id", "name", "team", "project", "tiers", "models", "created", "expires", "revoked"):
        table.add_column(column)
    for key in keys:
        cells = [
            ", ".join(value) if isinstance(value, list) else str(value or "") for value in map(key.get, _columns())
        ]
        table.add_row(*cells)
    Console().print(table)
    return 0


def _columns() -> tuple[str, ...]:
    return ("id", "name", "team", "project", "tiers", "models", "created", "expires", "revoked")


def revoke(key_id: str, *, policy: str | None, home: str | None, as_json: bool) -> int:
    """Revoke a key."""
    path, _ = _place(policy, home)
    with KeysBook(path) as book:
        stored = book.revoke(key_id, _now_ms())
    text = json.dumps({"id": stored.id, "revoked": stored.revoked}) if as_json else f"revoked {stored.id}"
    print(text)  # noqa: T201  # this command's output
    return 0
