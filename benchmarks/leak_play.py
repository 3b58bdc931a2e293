"""Plays scenarios on a virtual clock against the guards alone: no gateway, no store, no network."""

from __future__ import annotations

import gzip
import heapq
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from benchmarks.leak_agents import Ask, Told, request_of
from router.chat import Message, Text, ToolCall, ToolResult
from router.errors import RouterError
from router.guards import Keeper
from router.policy import Caller, Guards, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from benchmarks.leak_agents import Agent, Scenario
    from router.chat import Part, Request
    from router.guards import Mark, Verdict
    from router.guards.verdicts import Decided
    from router.ledger import GuardTrip

# claude-opus-5-5 in nano-USD per token: input, read from cache, output.
OPUS = (4_000, 200, 20_000)
REFUSED_MS = 100


@dataclass(frozen=True, slots=True)
class Priced:
    """What a call is expected to cost."""

    expected_cost_nanousd: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision for one model at one price."""

    decision_id: str
    cost_nanousd: int
    is_pinned: bool = True
    order: tuple[str, ...] = ("claude-opus",)

    def candidate(self, model: str) -> Priced:
        """The same for any model."""
        assert model in self.order
        return Priced(self.cost_nanousd)


@dataclass(slots=True)
class Played:
    """What a scenario cost. Money in nano-USD; ``bound`` is the least that any guard could have let through."""

    name: str
    spent: int = 0
    calls: int = 0
    refused: int = 0
    refused_nanousd: int = 0
    bound: int | None = None
    stopped_ms: int | None = None
    by: Counter[str] = field(default_factory=Counter)
    trips: list[GuardTrip] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """Leak over its lower bound; 1.0 where it was stopped before the mark, None where nothing was to be stopped."""
        if self.bound is None:
            return 1.0 if self.refused else None
        return self.spent / self.bound


def cost_of(ask: Ask, prices: tuple[int, int, int] = OPUS) -> int:
    """What the call costs, in nano-USD."""
    plain, cached, output = prices
    return (ask.input_tokens - ask.cached_tokens) * plain + ask.cached_tokens * cached + ask.output_tokens * output


class Gate(Protocol):
    """What lets requests through or raises: Tollgate's keeper, or what it is compared with."""

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, bounds: Guards, now_ms: int
    ) -> Verdict:
        """Let it through, or raise a RouterError."""
        ...

    def observe(
        self, mark: Mark | None, *, now_ms: int, outcome: str, cost_nanousd: int, parts: Iterable[Part] = ()
    ) -> None:
        """It has ended."""
        ...


@dataclass(slots=True)
class Player:
    """One run of one scenario against one gate, the keeper if none is given."""

    scenario: Scenario
    bounds: Guards = field(default_factory=Guards)
    prices: tuple[int, int, int] = OPUS
    is_pinned: bool = True
    salt: bytes = b"a salt of thirty-two bytes, once"
    gate: Gate | None = None
    played: Played = field(init=False)
    heap: list[tuple[int, int, Callable[[int], None]]] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=itertools.count)
    in_a_row: int = 0

    def __post_init__(self) -> None:
        self.played = Played(self.scenario.name)
        if self.gate is None:
            self.gate = Keeper(self.salt, self.played.trips.append)

    def play(self) -> Played:
        """To the end, or until the runaway was refused often enough to call it stopped."""
        for at_ms, begin in self.scenario.agents:
            self._at(self.scenario.start_ms + at_ms, self._beginning(begin))
        end_ms = self.scenario.start_ms + self.scenario.end_ms
        while self.heap and self.heap[0][0] <= end_ms and self.in_a_row <= self.scenario.stop_after_refusals:
            now_ms, _, step = heapq.heappop(self.heap)
            step(now_ms)
        return self.played

    def _at(self, at_ms: int, step: Callable[[int], None]) -> None:
        heapq.heappush(self.heap, (at_ms, next(self.order), step))

    def _beginning(self, begin: Callable[[], Agent]) -> Callable[[int], None]:
        return lambda now_ms: self._next(begin(), None, now_ms)

    def _next(self, agent: Agent, told: Told | None, now_ms: int) -> None:
        while True:
            try:
                step = next(agent) if told is None else agent.send(told)
            except StopIteration:
                return
            if isinstance(step, Ask):
                self._at(now_ms + step.wait_ms, partial(self._ask, agent, step))
                return
            self._at(now_ms + step.wait_ms, partial(self._next, step.agent, None))
            told = Told(now_ms)

    def _ask(self, agent: Agent, ask: Ask, now_ms: int) -> None:
        played, cost = self.played, cost_of(ask, self.prices)
        caller = Caller(key_id=ask.key_id, team="team")
        terms = Terms(session_id=ask.session_id, lineage=ask.ticket, tags=dict(ask.tags))
        choice = Choice(f"dec_{played.calls + played.refused}", cost, self.is_pinned)
        if ask.is_due:
            played.bound = (played.bound or 0) + cost
        elif ask.leaves and played.bound is None:
            played.bound = played.spent + cost
        try:
            assert self.gate is not None
            verdict = self.gate.admit(request_of(ask), caller, terms, choice, self.bounds, now_ms)
        except RouterError as error:
            self._refused(agent, error, cost, now_ms)
            return
        self.in_a_row = 0
        played.calls += 1
        played.spent += cost
        told = Told(now_ms + ask.latency_ms, verdict.ticket)
        self._at(now_ms + ask.latency_ms, partial(self._done, agent, ask, told, verdict.mark))

    def _refused(self, agent: Agent, error: RouterError, cost: int, now_ms: int) -> None:
        played = self.played
        self.in_a_row += 1
        played.refused += 1
        played.refused_nanousd += cost
        played.by[f"{error.data.get('guard')}:{error.code}"] += 1
        if played.stopped_ms is None:
            played.stopped_ms = now_ms - self.scenario.start_ms
        wait_s = float(str(error.data.get("retry_after_s", 0.0)))
        self._next(agent, Told(now_ms, None, error.code, wait_s), now_ms + REFUSED_MS)

    def _done(self, agent: Agent, ask: Ask, told: Told, mark: Mark | None, now_ms: int) -> None:
        cost = cost_of(ask, self.prices)
        assert self.gate is not None
        self.gate.observe(mark, now_ms=now_ms, outcome=ask.outcome, cost_nanousd=cost, parts=ask.answer)
        self._next(agent, told, now_ms)


def load_sessions(path: Path) -> list[tuple[Message, ...]]:
    """Recorded sessions in OpenAI's shape, one a line."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [tuple(_message(each) for each in json.loads(line)["messages"]) for line in file]


def _message(raw: dict[str, object]) -> Message:
    text = raw.get("content")
    parts = (Text(str(text)),) if text else ()
    if raw["role"] == "tool":
        return Message("tool", (ToolResult(str(raw["tool_call_id"]), parts),))
    calls = raw.get("tool_calls") or []
    assert isinstance(calls, list)
    made = tuple(
        ToolCall(str(each["id"]), str(each["function"]["name"]), str(each["function"]["arguments"])) for each in calls
    )
    return Message(raw["role"], (*parts, *made))  # type: ignore[arg-type]
