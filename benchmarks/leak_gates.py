"""What Tollgate's guards are compared with on the same replays: nothing, a rate limit, LiteLLM's own session guards."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.processes import BenchmarkError
from benchmarks.stack import REPO, clean_environment
from router.errors import RateLimitedError
from router.guards import Mark, Verdict
from router.money import NANO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from router.chat import Part, Request
    from router.guards.verdicts import Decided
    from router.policy import Caller, Guards, Terms

MINUTE_MS = 60_000
SAID = "leak: "
PASSED = Verdict("allow", None, {}, "", "", None)


class NoGate:
    """Everything passes."""

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, bounds: Guards, now_ms: int
    ) -> Verdict:
        """Always."""
        return PASSED

    def observe(
        self, mark: Mark | None, *, now_ms: int, outcome: str, cost_nanousd: int, parts: Iterable[Part] = ()
    ) -> None:
        """Nothing to note."""


@dataclass
class RateGate(NoGate):
    """So many requests a minute for each key."""

    per_minute: int
    seen: dict[tuple[str | None, int], int] = field(default_factory=dict)

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, bounds: Guards, now_ms: int
    ) -> Verdict:
        """While the minute has room."""
        minute = (caller.key_id, now_ms // MINUTE_MS)
        self.seen[minute] = self.seen.get(minute, 0) + 1
        if self.seen[minute] > self.per_minute:
            wait_s = (MINUTE_MS - now_ms % MINUTE_MS) / 1000
            raise RateLimitedError("too many requests", data={"guard": "rate_limit", "retry_after_s": wait_s})
        return PASSED


class PeerGate(NoGate):
    """LiteLLM's ``max_iterations`` and ``max_budget_per_session``, in a process of its own."""

    def __init__(self, python: str) -> None:
        """``python`` is the interpreter that has litellm[proxy]. Raises BenchmarkError where it does not start."""
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("leak_peer_process.py"))],
            cwd=REPO, env=clean_environment(LITELLM_LOCAL_MODEL_COST_MAP="True"), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._sessions: dict[int, str | None] = {}
        self._session: str | None = None
        if self._line() != "ready":
            raise BenchmarkError(f"{python}: LiteLLM's guards cannot be loaded there")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, bounds: Guards, now_ms: int
    ) -> Verdict:
        """As LiteLLM's handlers say."""
        self._tell({"ms": now_ms, "session": terms.session_id})
        if not json.loads(self._line()):
            raise RateLimitedError("LiteLLM refused it", data={"guard": "litellm", "retry_after_s": 60.0})
        if terms.session_id is not None:
            cost = decision.candidate(decision.order[0]).expected_cost_nanousd or 0
            self._tell({"ms": now_ms, "session": terms.session_id, "cost_usd": cost / NANO_PER_USD})
        return PASSED

    def _tell(self, line: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(SAID):
                return line.removeprefix(SAID).strip()
        raise BenchmarkError("LiteLLM's guards ended")
