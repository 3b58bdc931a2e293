"""What `tollgate check` says of a policy file: its own mistakes, those of its keys file, and what to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from router.config.keys import load_keys
from router.config.load import ordered, places_of, read_bytes, read_policy
from router.config.yaml_places import Finding, Places
from router.errors import ConfigError
from router.misspelt import meant

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from router.catalog import Catalog
    from router.config.load import Reading
    from router.policy import Policy

NO_KEYS_FILE = "there is no such file: `tollgate keys create --policy {policy}` makes it"


def lint_policy(path: Path, catalog: Catalog, today: date) -> Reading:
    """Read a policy file and the keys file that it names. Raises ConfigError where the policy cannot be read at all."""
    raw = read_bytes(path)
    reading = read_policy(raw, str(path), catalog, today)
    places = places_of(raw, str(path))
    keys_file = _keys_file(places.value) if isinstance(places, Places) else None
    if keys_file is None:
        return reading
    keys_path = path.parent / keys_file
    if not keys_path.exists():
        assert isinstance(places, Places)
        missing = places.find(("keys", "file"), NO_KEYS_FILE.format(policy=path))
        return replace(reading, findings=ordered((*reading.findings, missing)))
    try:
        load_keys(keys_path)
    except ConfigError as error:
        found = error.data.get("findings", [])
        assert isinstance(found, list)
        findings = [
            Finding(each["file"], each["line"], each["column"], each["path"], each["message"]) for each in found
        ] or [Finding(str(keys_path), 1, 1, "", error.message)]
        return replace(reading, findings=(*reading.findings, *findings))
    if reading.policy is None:
        return reading
    return replace(reading, warnings=(*reading.warnings, *_stale_names(keys_path, reading.policy)))


def _keys_file(policy: object) -> str | None:
    """The keys file that the policy names, whatever else is wrong with it."""
    block = policy.get("keys") if isinstance(policy, dict) else None
    named = block.get("file") if isinstance(block, dict) else None
    return named if isinstance(named, str) and named else None


def _stale_names(keys_path: Path, policy: Policy) -> list[Finding]:
    """Tiers and models of keys in force that the policy does not have."""
    places = places_of(read_bytes(keys_path), str(keys_path))
    assert isinstance(places, Places)
    found: list[Finding] = []
    for index, key in enumerate(load_keys(keys_path).keys):
        if key.revoked is not None:
            continue
        for field, names, known in (
            ("tiers", key.tiers, policy.quality_tiers),
            ("models", key.models, policy.models),
        ):
            for position, name in enumerate(names):
                if name not in known:
                    what = f"`{name}` is none of the policy's {field}{meant(name, known)}"
                    found.append(places.find(("keys", index, field, position), what))
    return found
