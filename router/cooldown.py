"""Which deployments rest: after failures in a row, one is left alone for a while, then probed by the next request."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Health:
    failures: int = 0
    rests_until_s: float = 0.0


@dataclass(slots=True)
class Cooldowns:
    """Failures in a row by model id. Times are monotonic seconds, given by the caller.

    A deployment rests once it has failed ``failures_max`` times without a success between. When the rest is over it
    may be asked again; one more failure sends it back to rest, one success clears it.
    """

    failures_max: int
    cooldown_s: float
    _health: dict[str, _Health] = field(default_factory=dict)

    def rest_s(self, model: str, now_s: float) -> float:
        """How many seconds the model still rests; 0 when it may be asked."""
        health = self._health.get(model)
        return max(0.0, health.rests_until_s - now_s) if health is not None else 0.0

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
