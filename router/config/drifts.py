"""Which calibrated workloads drifted: looked up in the ledger now and then, and kept in TOLLGATE_HOME/drift.json."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from router.calibration import MATCH_KINDS, Match
from router.drift import Drift, drifts_of
from router.errors import RouterError
from router.ledger import RequestQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from router.calibration import Calibrations
    from router.clock import Clock
    from router.ports import Ledger

log = logging.getLogger("tollgate")
NAME = "drift.json"
LOOK_S = 60.0
WEEK_MS = 7 * 86_400_000
# The newest so many requests of all workloads are looked at; a workload that is rarely asked has few among them.
ROWS_MAX = 5_000
FILE_BYTES_MAX = 1_000_000


def read_drifts(home: Path) -> dict[Match, Drift]:
    """What was last seen; nothing where nobody looked yet or the file is none: the next look writes it anew."""
    try:
        content = json.loads((home / NAME).read_bytes()[:FILE_BYTES_MAX])
        return dict(_drift_of(each) for each in content["workloads"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _drift_of(each: Mapping[str, Any]) -> tuple[Match, Drift]:
    stated = each["match"]
    if stated["kind"] not in MATCH_KINDS:
        raise ValueError(stated["kind"])
    return (
        Match(stated["kind"], str(stated["value"]), str(stated["tag"])),
        Drift(
            str(each["calibration"]),
            int(each["prompts"]),
            float(each["psi"]),
            float(each["limit"]),
            bool(each["is_over"]),
        ),
    )


def write_drifts(home: Path, drifts: Mapping[Match, Drift]) -> None:
    """Write the file whole or not at all. Raises OSError."""
    content = {
        "workloads": [
            {"match": {"kind": match.kind, "value": match.value, "tag": match.tag}, **drift._asdict()}
            for match, drift in sorted(drifts.items(), key=lambda each: str(each[0]))
        ]
    }
    path = home / NAME
    temporary = path.with_name(f".{NAME}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    temporary.replace(path)


class DriftWatch:
    """Looks at the newest requests of every calibrated workload once a minute, and says which drifted."""

    def __init__(self, home: Path, ledger: Ledger, clock: Clock, quality_revision: str) -> None:
        self._home, self._ledger, self._clock, self._revision = home, ledger, clock, quality_revision
        self.drifts: dict[Match, Drift] = read_drifts(home)

    async def run(self, calibrations: Callable[[], Calibrations], swap: Callable[[], None]) -> None:
        """Look until cancelled; ``swap`` is called when another workload has drifted, or one has not any more."""
        while True:
            try:
                if await self.look_once(calibrations()):
                    swap()
            except RouterError as error:
                log.warning("drift not looked at", extra={"fields": {"error_code": error.code}})
            await asyncio.sleep(LOOK_S)

    async def look_once(self, calibrations: Calibrations) -> bool:
        """Whether what drifted differs from before."""
        before, rows = self.drifts, []
        if calibrations.by_match:
            now_ms = self._clock.now_ms()
            query = RequestQuery(from_ms=now_ms - WEEK_MS, to_ms=now_ms + 1)
            rows = [row async for row in self._ledger.requests(query, limit=ROWS_MAX, newest_first=True)]
        rules: Mapping[str, tuple[str, ...]] = {}
        if any(match.kind == "rule" for match in calibrations.by_match):
            rules = await self._ledger.rules_matched([row.decision_id for row in rows])
        self.drifts = drifts_of(rows, calibrations, self._revision, before, rules)
        if self.drifts != before:
            try:
                await asyncio.to_thread(write_drifts, self._home, self.drifts)
            except OSError as error:
                log.warning("drift not written", extra={"fields": {"error": error.strerror}})
        over = {match for match, each in self.drifts.items() if each.is_over}
        were = {match for match, each in before.items() if each.is_over}
        for match in over - were:
            fields: dict[str, object] = {"workload": str(match), "error": self.drifts[match].why}
            log.warning("promise withdrawn: prompts drifted", extra={"fields": fields})
        for match in were - over:
            log.info("prompts are as they were graded again", extra={"fields": {"workload": str(match)}})
        return over != were
