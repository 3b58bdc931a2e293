"""Everything that labels put in force: graded answers by `tollgate calibrate`, and feedback between two of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from router.config.calibrations import CalibrationWatch
from router.config.drifts import DriftWatch
from router.config.learned import FeedbackWatch
from router.drift import with_drifts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.calibration import Calibrations
    from router.clock import Clock
    from router.policy import Policy
    from router.ports import Ledger


class LabelWatch:
    """The calibrations in force, what feedback moved and which prompts drifted, taken over while the gateway runs."""

    def __init__(self, home: Path, ledger: Ledger, clock: Clock, quality_revision: str) -> None:
        self._graded = CalibrationWatch(home, quality_revision)
        self._learned = FeedbackWatch(home, ledger, clock, quality_revision)
        self._drifted = DriftWatch(home, ledger, clock, quality_revision)

    @property
    def in_force(self) -> Calibrations:
        """What decisions follow."""
        graded = with_drifts(self._graded.loaded.calibrations, self._drifted.drifts)
        return replace(graded, adjustments=self._learned.adjustments)

    def refused(self) -> tuple[str, ...]:
        """Why each version on disk that cannot be used is not in force."""
        return (*self._graded.loaded.refused, *([self._learned.refused] if self._learned.refused else []))

    def alarms(self) -> int:
        """How many workloads lost their promise to their labels, or to prompts that nobody graded the like of."""
        return sum(each.alarm is not None for each in self._learned.adjustments.values()) + len(self.in_force.drifts)

    async def run(self, policy: Callable[[], Policy], swap: Callable[[], None]) -> None:
        """Look and fold until cancelled; ``swap`` is called when something else is in force from now on."""
        await asyncio.gather(
            self._graded.run(lambda _: swap()),
            self._learned.run(lambda: (policy(), self._graded.loaded.calibrations), swap),
            self._drifted.run(lambda: self._graded.loaded.calibrations, swap),
        )
