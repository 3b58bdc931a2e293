"""What `tollgate check` says of a policy file: its own mistakes, those of its keys file, and what to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from router.config.keys import load_keys
from router.config.load import places_of, read_bytes, read_policy
from router.config.words import meant
from router.config.yaml_places import Finding, Places
from router.errors import ConfigError

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
    if reading.policy is None or reading.policy.keys_file is None:
        return reading
    keys_path = path.parent / reading.policy.keys_file
    if not keys_path.exists():
        places = places_of(raw, str(path))
        assert isinstance(places, Places)
        missing = places.find(("keys", "file"), NO_KEYS_FILE.format(policy=path))
        return replace(reading, findings=(missing,))
    try:
        load_keys(keys_path)
    except ConfigError as error:
        found = error.data.get("findings", [])
        assert isinstance(found, list)
        findings = [
            Finding(each["file"], each["line"], each["column"], each["path"], each["message"]) for each in found
        ]
        return replace(reading, findings=tuple(findings) or (Finding(str(keys_path), 1, 1, "", error.message),))
    return replace(reading, warnings=(*reading.warnings, *_stale_names(keys_path, reading.policy)))


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
