"""Which deployments rest: after failures in a row, one is left alone for a while, then probed by single requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Final

# Of a deployment that is well, whatever asks is no probe.
NO_PROBE: Final = 0
# While a probe is under way nobody knows how long it takes: this soon it is worth looking again.
LOOK_AGAIN_S = 5.0


@dataclass(slots=True)
class _Health:
    failures: int = 0
    rests_until_s: float = 0.0
    probe: int = NO_PROBE
    probed_until_s: float = 0.0


@dataclass(slots=True)
class Cooldowns:
    """Failures in a row by model id. Times are monotonic seconds, given by the caller.

    A deployment rests once it has failed ``failures_max`` times without a success between. When the rest is over one
    request may ask it, and it rests for all others until that one has come back: another failure sends it back to rest,
    a success clears it, and what says nothing of its health lets the next one try. A probe that never comes back blocks
    nobody for longer than it said it might take.
    """

    failures_max: int
    cooldown_s: float
    _health: dict[str, _Health] = field(default_factory=dict)
    _probes: count[int] = field(default_factory=lambda: count(NO_PROBE + 1))

    def rest_s(self, model: str, now_s: float) -> float:
        """How many seconds the model still rests, or is probed by another request; 0 when it may be asked."""
        health = self._health.get(model)
        if health is None:
            return 0.0
        probed_s = health.probed_until_s - now_s if health.probe else 0.0
        return max(0.0, health.rests_until_s - now_s, min(probed_s, LOOK_AGAIN_S))

    def begin(self, model: str, now_s: float, probe_s: float) -> int | None:
        """A request is about to ask the model: the probe that it is, for ``end``, or None where it must not.

        ``probe_s`` is how long the others wait for it at most.
        """
        if self.rest_s(model, now_s) > 0:
            return None
        health = self._health.get(model)
        if health is None or health.failures < self.failures_max:
            return NO_PROBE
        health.probe, health.probed_until_s = next(self._probes), now_s + probe_s
        return health.probe

    def end(self, model: str, probe: int) -> None:
        """The request has come back, whatever it told: the next one may try where nothing else is known by now."""
        health = self._health.get(model)
        if probe != NO_PROBE and health is not None and health.probe == probe:
            health.probe = NO_PROBE

    def failed(self, model: str, now_s: float, *, retry_after_s: float | None = None) -> None:
        """Count a failure; the vendor's own Retry-After lengthens the rest, bounded by ten times ours."""
        health = self._health.setdefault(model, _Health())
        health.failures += 1
        if health.failures >= self.failures_max:
            wanted = max(self.cooldown_s, min(retry_after_s or 0.0, 10 * self.cooldown_s))
            health.rests_until_s = now_s + wanted

    def succeeded(self, model: str) -> None:
        """Forget the failures."""
        self._health.pop(model, None)

    def resting(self, now_s: float) -> dict[str, float]:
        """Seconds left by model, for readiness and metrics."""
        left = {model: self.rest_s(model, now_s) for model in self._health}
        return {model: rest_s for model, rest_s in left.items() if rest_s > 0}
