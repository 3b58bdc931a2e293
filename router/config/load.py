"""YAML text to a ``Policy``: every mistake of a file is found at once and named by ``file:line: path: message``."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from router.config.mistakes import later_findings, validated
from router.config.resolve import Resolving
from router.config.yaml_places import Finding, Places
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path

    from router.catalog import Catalog
    from router.policy import Policy

POLICY_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a policy file says: the policy, or the findings that forbid it; ``warnings`` beside either."""

    policy: Policy | None
    findings: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def load_policy(path: Path, catalog: Catalog, today: date) -> Policy:
    """Read a policy file. Raises ConfigError with every finding in ``data["findings"]``."""
    return parse_policy(read_bytes(path), str(path), catalog, today)


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises ConfigError naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def parse_policy(raw: bytes, name: str, catalog: Catalog, today: date) -> Policy:
    """The policy of a file's bytes; ``name`` is what messages call it. Raises ConfigError with every finding."""
    reading = read_policy(raw, name, catalog, today)
    require_none(reading.findings)
    assert reading.policy is not None
    return reading.policy


def read_policy(raw: bytes, name: str, catalog: Catalog, today: date) -> Reading:
    """Everything that can be said of a policy file's bytes."""
    places = places_of(raw, name)
    if not isinstance(places, Places):
        return Reading(None, (places,))
    if places.value is None and places.findings:
        return Reading(None, tuple(places.findings))
    if not isinstance(places.value, dict):
        return Reading(None, (Finding(name, 1, 1, "", "a policy is a block of keys: version, name, models, routing"),))
    file, wrong = validated(places)
    findings = places.findings + later_findings(places) + wrong
    if file is None:
        return Reading(None, ordered(findings))
    resolving = Resolving(file, places, catalog, today)
    policy = resolving.policy(hashlib.sha256(raw + catalog.revision.encode()).hexdigest())
    # A block that is wrong in places may seem empty without them.
    wrong_paths = [each.path for each in findings]
    findings += [each for each in resolving.findings if not any(path.startswith(each.path) for path in wrong_paths)]
    return Reading(None if findings else policy, ordered(findings), tuple(sorted(resolving.warnings)))


def places_of(raw: bytes, name: str) -> Places | Finding:
    """The YAML of a configuration file with the place of each value, or why its bytes are none."""
    if len(raw) > POLICY_BYTES_MAX:
        return Finding(name, 1, 1, "", f"{len(raw):,} bytes; at most {POLICY_BYTES_MAX:,}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Finding(name, raw.count(b"\n", 0, error.start) + 1, 1, "", "not UTF-8 text")
    return Places(text, name)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By line, one a path: a field of later work is also an unknown key, a key without a value has a wrong type."""
    kept: dict[tuple[int, str], Finding] = {}
    for each in findings:
        kept.setdefault((each.line, each.path), each)
    return tuple(sorted(kept.values()))


def require_none(findings: Iterable[Finding]) -> None:
    """Raises ConfigError, one line a finding, when there is one."""
    found = list(findings)
    if found:
        raise ConfigError(
            "\n".join(str(each) for each in found),
            data={"findings": [{**asdict(each), "text": str(each)} for each in found]},
        )
