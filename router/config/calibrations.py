"""Calibrations on disk: TOLLGATE_HOME/calibrations/NAME/N.json, numbers only, bound to a hash; the highest N holds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.calibration import MATCH_KINDS, NO_LIMIT, Calibration, Calibrations, Match
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger("tollgate")
FORMAT = 1
POLL_S = 1.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VERSION = re.compile(r"([1-9][0-9]{0,8})\.json")
WITHDRAWN = re.compile(r"([1-9][0-9]{0,8})\.withdrawn")
FILE_BYTES_MAX = 1_000_000
RESERVED = "feedback"


def folder_of(home: Path) -> Path:
    """Where an installation's calibrations are."""
    return home / "calibrations"


def require_name(name: str) -> str:
    """The name, if a file may have it. Raises ConfigError."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name}: a workload's name is 1 to 64 letters, digits, `.`, `_` or `-`")
    if name == RESERVED:
        raise ConfigError(f"{name}: is what the labels of POST /v1/feedback are called: choose another name")
    return name


def _numbers_in(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    try:
        found = [pattern.fullmatch(each.name) for each in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(each[1]) for each in found if each)


def versions_of(home: Path, name: str) -> list[int]:
    """The versions of a workload that were not rolled back, oldest first."""
    return _numbers_in(folder_of(home) / require_name(name), VERSION)


def names_of(home: Path) -> list[str]:
    """The workloads that have a version."""
    try:
        found = sorted(each.name for each in folder_of(home).iterdir() if NAME.fullmatch(each.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in found if versions_of(home, name)]


def path_of(home: Path, name: str, version: int) -> Path:
    """The file of one version."""
    return folder_of(home) / name / f"{version}.json"


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def content_of(calibration: Calibration, about: Mapping[str, object]) -> dict[str, object]:
    """The calibration as JSON values; ``about`` holds what people want to know of it, numbers and names."""
    match = calibration.match
    thresholds = [[t, limit if limit > NO_LIMIT else None] for t, limit in sorted(calibration.thresholds.items())]
    content: dict[str, object] = {
        "format": FORMAT,
        "name": calibration.name,
        "version": calibration.version,
        "match": {"kind": match.kind, "value": match.value, "tag": match.tag},
        "quality_revision": calibration.quality_revision,
        "premium": calibration.premium,
        "shifts": dict(calibration.shifts),
        "thresholds": thresholds,
        "labels": calibration.labels,
        "support_floor": calibration.support_floor,
        "complexity_cuts": list(calibration.complexity_cuts),
        "about": dict(about),
    }
    return content | {"sha256": _digest(content)}


def save(home: Path, calibration: Calibration, about: Mapping[str, object]) -> Path:
    """Write a new version whole or not at all. Raises ConfigError, also where somebody else wrote that version."""
    path = path_of(home, calibration.name, calibration.version)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content_of(calibration, about), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails where the version is there already: nobody's is overwritten
        finally:
            temporary.unlink()
    except FileExistsError as error:
        raise ConfigError(f"{path}: was written by somebody else just now: calibrate again") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def next_version(home: Path, name: str) -> int:
    """The version that comes next: a number is never used twice, rolled back or not."""
    folder = folder_of(home) / require_name(name)
    return max([0, *_numbers_in(folder, VERSION), *_numbers_in(folder, WITHDRAWN)]) + 1


def roll_back(home: Path, name: str) -> tuple[int, int | None]:
    """Take the newest version out of force; returns it and the one that holds now. Raises ConfigError without one."""
    versions = versions_of(home, name)
    if not versions:
        raise ConfigError(f"{folder_of(home) / name}: there is no version to roll back")
    path = path_of(home, name, versions[-1])
    try:
        path.rename(path.with_suffix(".withdrawn"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be rolled back: {error.strerror}") from error
    return versions[-1], versions[-2] if len(versions) > 1 else None


def read(path: Path) -> tuple[Calibration, dict[str, Any]]:
    """A version and what is said about it. Raises ConfigError naming the file and what is wrong with it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is no calibration: over {FILE_BYTES_MAX} bytes")
    try:
        content = json.loads(raw)
        stated = content.pop("sha256")
        is_whole = stated == _digest(content)
        found = _calibration_of(content) if is_whole and content["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no calibration, or was cut off") from error
    if not is_whole:
        raise ConfigError(f"{path}: does not match its own hash: it was changed or damaged")
    if found is None:
        raise ConfigError(f"{path}: was written by another version of Tollgate: calibrate again")
    if (found.name, f"{found.version}.json") != (path.parent.name, path.name):
        raise ConfigError(f"{path}: holds {found.id}: it was moved or copied")
    return found, content["about"]


def _calibration_of(content: Mapping[str, Any]) -> Calibration:
    match = content["match"]
    if match["kind"] not in MATCH_KINDS:
        raise ValueError(match["kind"])
    shifts = {str(name): float(shift) for name, shift in content["shifts"].items()}
    thresholds = {float(t): NO_LIMIT if limit is None else float(limit) for t, limit in content["thresholds"]}
    if not all(map(math.isfinite, shifts.values())):
        raise ValueError("shifts")
    return Calibration(
        name=str(content["name"]),
        version=int(content["version"]),
        match=Match(match["kind"], str(match["value"]), str(match["tag"])),
        quality_revision=str(content["quality_revision"]),
        premium=str(content["premium"]),
        shifts=shifts,
        thresholds=thresholds,
        labels=int(content["labels"]),
        support_floor=float(content["support_floor"]),
        complexity_cuts=tuple(float(cut) for cut in content.get("complexity_cuts", ())),
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """The calibrations that hold, and why each other does not."""

    calibrations: Calibrations
    refused: tuple[str, ...]


def load(home: Path, quality_revision: str) -> Loaded:
    """Every workload's newest version; one that cannot be used is refused with its reason, and stops no other."""
    by_match: dict[Match, Calibration] = {}
    refused: list[str] = []
    for name in names_of(home):
        path = path_of(home, name, versions_of(home, name)[-1])
        try:
            found, _ = read(path)
        except ConfigError as error:
            refused.append(error.message)
            continue
        if found.quality_revision != quality_revision:
            refused.append(f"{path}: was made for another quality model ({found.quality_revision}): calibrate again")
        elif found.match in by_match:
            other = by_match[found.match].name
            refused.append(f"{path}: is for {found.match}, as {other} is: roll one of the two back")
        else:
            by_match[found.match] = found
    return Loaded(Calibrations(by_match), tuple(refused))


def _stamps_of(home: Path) -> tuple[object, ...]:
    found: list[object] = []
    for name in names_of(home):
        for version in versions_of(home, name):
            try:
                stat = path_of(home, name, version).stat()
            except OSError:
                continue
            found.append((name, version, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


class CalibrationWatch:
    """Holds the calibrations in force, and takes over new versions while the gateway runs."""

    def __init__(self, home: Path, quality_revision: str) -> None:
        self._home, self._revision = home, quality_revision
        self._seen = _stamps_of(home)  # before they are read: a change in between must be seen
        self.loaded = load(home, quality_revision)
        self._tell()

    async def run(self, swap: Callable[[Calibrations], None]) -> None:
        """Look every second until cancelled; ``swap`` gets what holds from now on."""
        while True:
            await asyncio.sleep(POLL_S)
            stamps = await asyncio.to_thread(_stamps_of, self._home)
            if stamps != self._seen:
                self._seen = stamps
                self.loaded = await asyncio.to_thread(load, self._home, self._revision)
                swap(self.loaded.calibrations)
                self._tell()

    def _tell(self) -> None:
        for why in self.loaded.refused:
            log.warning("calibration refused", extra={"fields": {"error": why}})
        if self.loaded.calibrations:
            ids = sorted(each.id for each in self.loaded.calibrations.by_match.values())
            log.info("calibrations in force", extra={"fields": {"calibrations": ids}})
