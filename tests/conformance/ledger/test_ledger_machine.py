"""Random interleavings of what happens to a ledger, against a model in a few dictionaries."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from router.ledger import Finding, RequestQuery
from router.stores import open_ledger
from router.stores.memory import MemoryLedger
from router.stores.sql.verify import verify
from tests.lines import LEASE_MS, START_MS, StillClock, correction_line, failure_line, intent_line, settlement_line

if TYPE_CHECKING:
    from router.ports import Ledger


class LedgerMachine(RuleBasedStateMachine):
    """``costs`` is what each attempt has been charged, ``holds`` what is still open."""

    url = "memory://"
    writers = 1

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.team = secrets.token_hex(8)
        self.clock = StillClock()
        self.ledgers: list[Ledger] = [self.open() for _ in range(self.writers)]
        self.attempts: dict[str, int] = {}
        self.holds: dict[tuple[str, int], tuple[int, int]] = {}
        self.costs: dict[tuple[str, int], int] = {}
        self.is_late_due: set[tuple[str, int]] = set()
        self.corrections = 0

    def open(self) -> Ledger:
        return self.runner.run(open_ledger(self.url, home=Path(), clock=self.clock))

    def ledger(self, number: int) -> Ledger:
        return self.ledgers[number % self.writers]

    @rule(hold=st.integers(0, 10**12), which=st.integers(0, 1), lease_ms=st.sampled_from([1000, LEASE_MS]))
    def begin(self, hold: int, which: int, lease_ms: int) -> None:
        decision_id = f"{self.team}-{len(self.attempts)}"
        self._begin(decision_id, hold, which, lease_ms)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), hold=st.integers(0, 10**12), which=st.integers(0, 1))
    def again(self, data: st.DataObject, hold: int, which: int) -> None:
        self._begin(data.draw(st.sampled_from(sorted(self.attempts))), hold, which, LEASE_MS)

    def _begin(self, decision_id: str, hold: int, which: int, lease_ms: int) -> None:
        attempt = self.attempts.get(decision_id, 0) + 1
        self.attempts[decision_id] = attempt
        line = intent_line(
            decision_id, attempt, time_ms=self.clock.time_ms, hold_nanousd=hold, team=self.team, lease_ms=lease_ms
        )
        self.runner.run(self.ledger(which).append(line))
        self.holds[decision_id, attempt] = (hold, self.clock.time_ms + lease_ms)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), cost=st.integers(0, 10**12), which=st.integers(0, 1), is_answer=st.booleans())
    def settle(self, data: st.DataObject, cost: int, which: int, is_answer: bool) -> None:
        places = sorted(self.holds.keys() | self.costs.keys())
        place = data.draw(st.sampled_from(places))
        line = settlement_line(*place, cost_nanousd=cost) if is_answer else failure_line(*place, cost_nanousd=cost)
        ledger = self.ledger(which)
        ledger.append_later(line)
        if data.draw(st.booleans()):
            ledger.append_later(line)
        self.runner.run(ledger.sync())
        if place in self.holds:
            del self.holds[place]
            self.costs[place] = cost
        elif place in self.is_late_due:
            self.is_late_due.discard(place)
            self.costs[place] = cost

    @precondition(lambda self: self.costs)
    @rule(data=st.data(), delta=st.integers(-1000, 1000))
    def correct(self, data: st.DataObject, delta: int) -> None:
        place = data.draw(st.sampled_from(sorted(self.costs.keys() - self.is_late_due) or [None]))
        if place is None:
            return
        self.corrections += 1
        line = correction_line(*place, delta)
        object.__setattr__(line, "time_ms", START_MS + self.corrections)
        self.runner.run(self.ledgers[0].append(line, line))
        self.costs[place] += delta

    @rule(step_ms=st.sampled_from([1, 1000, LEASE_MS]), which=st.integers(0, 1))
    def expire(self, step_ms: int, which: int) -> None:
        self.clock.time_ms += step_ms
        due = {place for place, (_, lease_ms) in self.holds.items() if lease_ms <= self.clock.time_ms}
        assert self.runner.run(self.ledger(which).close_expired(self.clock.time_ms)) == len(due)
        for place in due:
            self.costs[place] = self.holds.pop(place)[0]
            self.is_late_due.add(place)

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        if self.url != "memory://":
            self.runner.run(self.ledger(which).aclose())
            self.ledgers[which % self.writers] = self.open()

    @invariant()
    def sums_agree(self) -> None:
        (totals,) = self.runner.run(self.ledgers[-1].totals(RequestQuery(team=self.team), []))
        assert totals.cost_nanousd == sum(self.costs.values())
        assert totals.requests == len(self.attempts)

    def teardown(self) -> None:
        self.clock.time_ms += 2 * LEASE_MS
        try:
            assert self.runner.run(self.ledgers[0].close_expired(self.clock.time_ms)) == len(self.holds)
            assert self.runner.run(self.findings()) == []
        finally:
            for ledger in self.ledgers:
                self.runner.run(ledger.aclose())
            self.runner.close()

    async def findings(self) -> list[Finding]:
        ledger = self.ledgers[0]
        if isinstance(ledger, MemoryLedger):
            return []
        return [each async for each in verify(ledger.reads, self.clock.time_ms) if isinstance(each, Finding)]


EXAMPLES = {"memory": 60, "sqlite": 15, "postgresql": 12}


@pytest.mark.parametrize("store", EXAMPLES)
def test_any_interleaving_adds_up(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if store == "postgresql":
        url = request.getfixturevalue("postgres_server").create_database()
    else:
        url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'ledger.sqlite'}"}[store]
    kind = type("Machine", (LedgerMachine,), {"url": url, "writers": 1 if store == "memory" else 2})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=EXAMPLES[store],
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
