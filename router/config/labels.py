"""Everything that labels put in force: graded answers by `tollgate calibrate`, and feedback between two of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from router.config.calibrations import CalibrationWatch
from router.config.learned import FeedbackWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.calibration import Calibrations
    from router.clock import Clock
    from router.policy import Policy
    from router.ports import Ledger


class LabelWatch:
    """The calibrations in force with what feedback moved, and both taken over while the gateway runs."""

    def __init__(self, home: Path, ledger: Ledger, clock: Clock, quality_revision: str) -> None:
        self._graded = CalibrationWatch(home, quality_revision)
        self._learned = FeedbackWatch(home, ledger, clock, quality_revision)

    @property
    def in_force(self) -> Calibrations:
        """What decisions follow."""
        return replace(self._graded.loaded.calibrations, adjustments=self._learned.adjustments)

    def refused(self) -> tuple[str, ...]:
        """Why each version on disk that cannot be used is not in force."""
        return (*self._graded.loaded.refused, *([self._learned.refused] if self._learned.refused else []))

    def alarms(self) -> int:
        """How many workloads lost their promise to their labels."""
        return sum(each.alarm is not None for each in self._learned.adjustments.values())

    async def run(self, policy: Callable[[], Policy], swap: Callable[[], None]) -> None:
        """Look and fold until cancelled; ``swap`` is called when something else is in force from now on."""
        await asyncio.gather(
            self._graded.run(lambda _: swap()),
            self._learned.run(lambda: (policy(), self._graded.loaded.calibrations), swap),
        )
