"""What feedback has moved, on disk: TOLLGATE_HOME/feedback/N.json, a version each time it differs; the highest holds.

A version says up to which moment the ledger's labels are in it, and since when labels count: the same lines give the
same version again. Rolling back writes a version by which no label up to now counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from router.answer_marks import MARK_NAMES
from router.calibration import MATCH_KINDS, Adjustment, Match
from router.errors import ConfigError, RouterError
from router.feedback import LABELS_MAX, WINDOW_MS, fold, labels_of, with_version
from router.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from router.calibration import Calibrations
    from router.clock import Clock
    from router.feedback import Label
    from router.policy import Policy
    from router.ports import Ledger

log = logging.getLogger("tollgate")
NAME = "feedback"
FORMAT = 1
FOLD_S = 10
# Without new labels only their fading moves anything, slowly.
REFOLD_MS = 600_000
# A line may reach the store a little after the moment that it bears.
LATE_MS = 20_000
# Less than this in log-odds is not worth a version of its own.
WORTH = 0.02
VERSIONS_KEPT = 100
FILE = re.compile(r"([1-9][0-9]{0,8})\.json")
FILE_BYTES_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class Learned:
    """One version: what labels up to ``as_of_ms``, and none up to ``forgotten_ms``, moved under one quality model."""

    version: int = 0
    as_of_ms: int = 0
    forgotten_ms: int = 0
    quality_revision: str = ""
    adjustments: Mapping[Match, Adjustment] = field(default_factory=dict)

    def differs_from(self, other: Learned) -> bool:
        """Whether anything differs by more than a trifle."""
        if other.adjustments and self.quality_revision != other.quality_revision:
            return True
        for match in self.adjustments.keys() | other.adjustments.keys():
            mine, theirs = self.adjustments.get(match), other.adjustments.get(match)
            one, two = (dict(each.shifts) if each is not None else {} for each in (mine, theirs))
            if any(abs(one.get(name, 0.0) - two.get(name, 0.0)) >= WORTH for name in one.keys() | two.keys()):
                return True
            if (mine is not None and mine.alarm is not None) != (theirs is not None and theirs.alarm is not None):
                return True
            judge = None if mine is None else mine.verifier
            former = None if theirs is None else theirs.verifier
            if judge is not former and (judge is None or judge.differs_from(former, WORTH)):
                return True
        return False


def folder_of(home: Path) -> Path:
    """Where the versions are."""
    return home / NAME


def versions_in(home: Path) -> list[int]:
    """Every version, oldest first."""
    try:
        found = [FILE.fullmatch(each.name) for each in folder_of(home).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(each[1]) for each in found if each)


def content_of(learned: Learned) -> dict[str, object]:
    """The version as JSON values, bound to its hash."""
    content: dict[str, object] = {
        "format": FORMAT,
        "version": learned.version,
        "as_of_ms": learned.as_of_ms,
        "forgotten_ms": learned.forgotten_ms,
        "quality_revision": learned.quality_revision,
        "workloads": [
            {
                "match": {"kind": each.match.kind, "value": each.match.value, "tag": each.match.tag},
                "shifts": dict(each.shifts),
                "labels": each.labels,
                "voices": each.voices,
                "alarm": each.alarm,
                **({} if each.verifier is None else {"verifier": _plain_of(each.verifier)}),
            }
            for each in sorted(learned.adjustments.values(), key=lambda each: str(each.match))
        ],
    }
    return content | {"sha256": _digest(content)}


def _plain_of(verifier: Verifier) -> dict[str, object]:
    """What the labels made of it; which version it is, and what a policy wants of an answer, is not among that."""
    plain = {**verifier._asdict(), "weights": dict(verifier.weights)}
    return {name: value for name, value in plain.items() if name not in ("version", "chance_min")}


def _verifier_of(plain: dict[str, Any] | None) -> Verifier | None:
    """The verifier of a version; None where there is none, or where another release's marks taught it."""
    if plain is None or (plain["why_not"] is None and set(plain["weights"]) != set(MARK_NAMES)):
        return None
    return Verifier(**{name: value for name, value in plain.items() if name in Verifier._fields})


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save(home: Path, learned: Learned) -> bool:
    """Write the version whole or not at all; False where somebody else wrote it. Raises ConfigError."""
    path = folder_of(home) / f"{learned.version}.json"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content_of(learned), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        for old in versions_in(home)[:-VERSIONS_KEPT]:
            with suppress(OSError):
                (folder_of(home) / f"{old}.json").unlink()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    return True


def read_newest(home: Path) -> Learned:
    """The version in force; nothing learned where there is none. Raises ConfigError naming the file."""
    versions = versions_in(home)
    if not versions:
        return Learned()
    path = folder_of(home) / f"{versions[-1]}.json"
    try:
        content = json.loads(path.read_bytes()[:FILE_BYTES_MAX])
        return _learned_of(content, versions[-1])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no version of feedback, or was changed: `--rollback feedback`") from error


def _learned_of(content: dict[str, Any], version: int) -> Learned:
    if content.pop("sha256") != _digest(content) or (content["format"], content["version"]) != (FORMAT, version):
        raise ValueError(version)
    found: dict[Match, Adjustment] = {}
    for each in content["workloads"]:
        stated = each["match"]
        if stated["kind"] not in MATCH_KINDS:
            raise ValueError(stated["kind"])
        match = Match(stated["kind"], str(stated["value"]), str(stated["tag"]))
        shifts = {str(name): float(shift) for name, shift in each["shifts"].items()}
        found[match] = Adjustment(
            match,
            shifts,
            int(each["labels"]),
            int(each["voices"]),
            each["alarm"],
            verifier=_verifier_of(each.get("verifier")),
        )
    return Learned(
        version,
        int(content["as_of_ms"]),
        int(content["forgotten_ms"]),
        str(content["quality_revision"]),
        with_version(found, version),
    )


def forget(home: Path, now_ms: int) -> int:
    """Roll back: a version by which no label up to now counts; returns its number. Raises ConfigError."""
    versions = versions_in(home)
    version = versions[-1] + 1 if versions else 1
    if not save(home, Learned(version, now_ms, now_ms)):
        raise ConfigError(f"{folder_of(home)}: was written to by somebody else just now: try again")
    return version


def names_in(policy: Policy) -> dict[str, str]:
    """The policy's names of models to ``provider_model``."""
    return {name: model.provider_model for name, model in policy.models.items()}


class FeedbackWatch:
    """Folds the ledger's labels into what is in force, at whole tens of seconds, so that replicas agree."""

    def __init__(self, home: Path, ledger: Ledger, clock: Clock, quality_revision: str) -> None:
        self._home, self._ledger, self._clock, self._revision = home, ledger, clock, quality_revision
        self._labels: dict[str, list[Label]] = {}
        self._read_ms = 0
        self._folded_ms = 0
        self._has_news = False
        self._calibrations: Calibrations | None = None
        self.refused: str | None = None
        self.learned = self._newest()

    @property
    def adjustments(self) -> Mapping[Match, Adjustment]:
        """What is in force; nothing under another quality model than the labels were read for."""
        return self.learned.adjustments if self.learned.quality_revision == self._revision else {}

    def _newest(self) -> Learned:
        try:
            found = read_newest(self._home)
        except ConfigError as error:
            log.warning("feedback refused", extra={"fields": {"error": error.message}})
            self.refused = error.message
            return Learned()
        self.refused = None
        return found

    async def run(self, in_force: Callable[[], tuple[Policy, Calibrations]], swap: Callable[[], None]) -> None:
        """Fold every few seconds until cancelled; ``swap`` is called when something else is in force from now on."""
        while True:
            try:
                if await self.fold_once(*in_force()):
                    swap()
            except RouterError as error:
                log.warning("feedback not folded", extra={"fields": {"error_code": error.code}})
            await asyncio.sleep(FOLD_S)

    async def fold_once(self, policy: Policy, calibrations: Calibrations) -> bool:
        """Read what is new, fold all, and write a version where it differs; whether another one is in force now."""
        now_ms = self._clock.now_ms() // (FOLD_S * 1000) * FOLD_S * 1000
        before = self.learned
        versions = await asyncio.to_thread(versions_in, self._home)
        if versions and versions[-1] != before.version:
            self.learned = await asyncio.to_thread(self._newest)  # another process folded, or an operator rolled back
        await self._read_new(now_ms)
        is_due = (
            self._has_news
            or now_ms - self._folded_ms >= REFOLD_MS
            or self.learned is not before
            or calibrations is not self._calibrations
        )
        if self.refused is None and is_due and (self._labels or self.learned.adjustments):
            self._has_news, self._folded_ms, self._calibrations = False, now_ms, calibrations
            await asyncio.to_thread(self._fold, policy, calibrations, now_ms)
        return self.learned is not before

    async def _read_new(self, now_ms: int) -> None:
        since = max(now_ms - WINDOW_MS, self._read_ms - LATE_MS)
        async for row, lines in self._ledger.labelled(since, now_ms + LATE_MS, limit=LABELS_MAX):
            # Labels that are younger than this moment come with the next one.
            found = labels_of(row, lines, now_ms)
            if found and self._labels.get(row.decision_id) != found:
                self._labels[row.decision_id] = found
                self._has_news = True
        self._read_ms = now_ms
        if len(self._labels) > LABELS_MAX:
            newest = sorted(self._labels, key=lambda each: self._labels[each][-1].time_ms)[-LABELS_MAX:]
            self._labels = {each: self._labels[each] for each in newest}

    def _fold(self, policy: Policy, calibrations: Calibrations, now_ms: int) -> None:
        labels = [label for each in self._labels.values() for label in each]
        forgotten_ms = self.learned.forgotten_ms
        found = fold(labels, calibrations, names_in(policy), self._revision, now_ms, forgotten_ms=forgotten_ms)
        made = Learned(self.learned.version + 1, now_ms, forgotten_ms, self._revision, found)
        if not made.differs_from(self.learned) or not save(self._home, made):
            return
        self.learned = Learned(
            made.version, now_ms, forgotten_ms, self._revision, with_version(made.adjustments, made.version)
        )
        fields: dict[str, object] = {"version": made.version, "workloads": len(found), "labels": len(labels)}
        log.info("feedback folded", extra={"fields": fields})
        for each in found.values():
            if each.alarm is not None:
                fields = {"workload": str(each.match), "error": each.alarm}
                log.warning("promise withdrawn: labels contradict it", extra={"fields": fields})
