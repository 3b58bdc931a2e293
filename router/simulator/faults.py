"""Faults on demand: which calls go wrong, how, and how often. Drawn from the call's content, not from its order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

FAULTS: dict[str, str] = {
    "429": "too many requests, with Retry-After; not billed",
    "500": "internal error; not billed",
    "529": "overloaded, in the vendor's own status (Anthropic 529, the others 503); not billed",
    "timeout_connect": "the connection breaks before a byte of the answer, nothing was run; not billed",
    "timeout_first_byte": "no byte ever comes; the vendor generates all the same; billed",
    "stall_mid_stream": "half of the answer, then silence; billed",
    "torn_stream": "half of the answer, then the connection breaks; billed",
    "malformed_json": "the answer, or an event of the stream, is broken JSON; billed",
    "usage_missing": "the answer carries no usage; billed",
    "html": "an HTML page instead of the API (status 502 unless said otherwise); not billed",
    "refusal": "the model declines; billed",
    "truncation": "the answer stops as if at its output limit; billed",
    "empty": "the model ends its turn without a word; the prompt is billed",
}
UNBILLED = frozenset({"429", "500", "529", "timeout_connect", "html"})
_FIELDS = frozenset({"fault", "rate", "seed", "models", "limit", "hold_s", "status", "retry_after_s"})


@dataclass(slots=True)
class FaultRule:
    """One fault for a share of the calls (of the named models, if any), at most ``limit`` times."""

    fault: str
    rate: float = 1.0
    seed: int = 0
    models: frozenset[str] = frozenset()
    limit: int | None = None
    hold_s: float = 600.0
    status: int = 502
    retry_after_s: float = 1.0
    fired: int = 0

    def shown(self) -> dict[str, Any]:
        """The rule as `GET /_simulator/faults` shows it."""
        return {
            "fault": self.fault,
            "rate": self.rate,
            "seed": self.seed,
            "models": sorted(self.models),
            "limit": self.limit,
            "hold_s": self.hold_s,
            "fired": self.fired,
        }


def parse_fault(body: object) -> FaultRule:
    """Turn the body of `POST /_simulator/faults` into a rule.

    Raises:
        ValueError: with the field at fault and what it may be.
    """
    if not isinstance(body, dict):
        raise ValueError("a fault is a JSON object")  # noqa: TRY004 - the caller renders one kind of error
    unknown = sorted(set(body) - _FIELDS)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(_FIELDS))}")
    fault = str(body.get("fault"))
    if fault not in FAULTS:
        raise ValueError(f"fault: unknown {fault!r}; known: {', '.join(FAULTS)}")
    models = body.get("models") or []
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise ValueError("models: a list of model ids")
    numbers = {key: body[key] for key in ("rate", "seed", "limit", "hold_s", "status", "retry_after_s") if key in body}
    for key, value in numbers.items():
        if key == "limit" and value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{key}: a number, not below 0")
        if key in ("seed", "limit", "status") and not isinstance(value, int):
            raise ValueError(f"{key}: a whole number")
    if numbers.get("rate", 1) > 1:
        raise ValueError("rate: a share of the calls, 0..1")
    return FaultRule(fault=fault, models=frozenset(models), **numbers)


@dataclass(slots=True)
class Faults:
    """The rules in force, first match first."""

    rules: list[FaultRule] = field(default_factory=list)

    def drawn(self, model: str, digest: bytes) -> FaultRule | None:
        """The fault that this call meets, if any; the same call meets the same one in whatever order calls come."""
        for index, rule in enumerate(self.rules):
            if rule.models and model not in rule.models:
                continue
            if rule.limit is not None and rule.fired >= rule.limit:
                continue
            mark = hashlib.blake2b(b"%d:%d:%s" % (rule.seed, index, digest), digest_size=7).digest()
            if int.from_bytes(mark, "big") < rule.rate * 2**56:
                rule.fired += 1
                return rule
        return None
