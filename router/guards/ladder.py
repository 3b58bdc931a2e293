"""The ladder: tag, alert, downgrade, throttle, stop; and the way down again, by silence and one call on probation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from router.guards.state import DAY_MS

if TYPE_CHECKING:
    from router.guards.rules import Finding
    from router.guards.state import Case

Action: TypeAlias = Literal["allow", "tag", "alert", "downgrade", "throttle", "stop"]
RUNGS: tuple[Action, ...] = ("allow", "tag", "alert", "downgrade", "throttle", "stop")
DOWNGRADE_SHARE = 0.5
DEPTH_STRIKES = 3
QUIET_MAX_MS = DAY_MS
TOUCH_EVERY_MS = 1_000

Gate: TypeAlias = Literal["open", "shut", "probe", "probation", "served"]


def rung_of(finding: Finding, case: Case | None, *, is_declared_fixed: bool) -> Action:
    """How far up a finding leads. ``is_declared_fixed``: the caller pinned the model, so it cannot be a cheaper one."""
    if finding.most == "alert":
        return "alert"
    if case is not None and case.probe_ms:
        return "stop"
    strikes = 0 if case is None else case.strikes
    if finding.is_hard:
        if finding.most == "throttle":
            return "throttle"
        return "stop" if finding.guard == "fan_out" or strikes >= DEPTH_STRIKES - 1 else "throttle"
    if finding.leaked_nanousd <= finding.floor_nanousd * DOWNGRADE_SHARE:
        return "alert"
    if finding.leaked_nanousd <= finding.floor_nanousd:
        return "alert" if is_declared_fixed else "downgrade"
    return "stop" if strikes else "throttle"


def gate_of(case: Case | None, now_ms: int, window_ms: int) -> Gate:
    """Whether a scope that was stopped lets a call through.

    ``probe``: it was silent for long enough, and this one call may show that it is sound again. ``probation``: the
    probe is under way. ``served``: nothing happened since the probe for as long again, so the stop is over.
    """
    if case is None or not case.is_stopped:
        return "open"
    silent_ms = now_ms - case.asked_ms
    if case.probe_ms:
        return "served" if now_ms - case.probe_ms > max(window_ms, case.quiet_ms) else "probation"
    return "probe" if silent_ms >= case.quiet_ms else "shut"


def next_quiet_ms(case: Case | None, window_ms: int) -> int:
    """How long the next stop asks for silence: first a window, then twice as long each time, at most a day."""
    return window_ms if case is None or not case.is_stopped else min(case.quiet_ms * 2, QUIET_MAX_MS)
