"""The application floor over a script: vendors, a quality model and time that do what the test says.

The ledger is a real one. Time leaps: where every task waits for a timer, the loop's clock goes there at once.
"""

from __future__ import annotations

import asyncio
import selectors
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from router.admission import Admission
from router.chat import Finish, Reply, StreamStart, Text, TextDelta, UsageReport
from router.cooldown import Cooldowns
from router.dispatch import Dispatch
from router.gateway import Gateway, InForce
from router.guarding import Guarding
from router.guards import Keeper
from router.ledger import Intent, Rejection, RequestQuery, Settlement
from router.policy import Caller, Policy, Terms, Upstream
from router.ports import Deployment
from router.quality import Placement, Scores
from router.stores.budgets.memory import MemoryBudgets
from router.stores.memory import MemoryLedger
from router.stream import Background
from router.tokens import TokenUsage, Usage
from router.treasury import Treasury
from tests.builders import model_of, policy_of
from tests.lines import START_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from router.chat import StreamEvent
    from router.features import Features
    from router.ledger import Line
    from router.ports import Call

T = TypeVar("T")

USAGE = Usage(TokenUsage(input_uncached=100, cache_read=20, output_text=50, output_reasoning=5))
USAGE_COST = 120 * 1_000 + 55 * 5_000  # at 1 and 5 USD per million tokens, in nano-USD
NOBODY = Caller()
ANY = Terms()
PREMIUM = Terms(quality_tier="premium")


# --- time ------------------------------------------------------------------------------------------------------------


class _Leap(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.now_s += timeout
        return ready


class LeapLoop(asyncio.SelectorEventLoop):
    """A loop whose clock leaps to the next timer when nothing else is left to do."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now_s


def leap(work: Coroutine[Any, Any, T]) -> T:
    """Run the work in leaping time, on a loop of its own."""
    with asyncio.Runner(loop_factory=LeapLoop) as runner:
        return runner.run(work)


class LoopClock:
    """The running loop's clock as the port."""

    def now_ms(self) -> int:
        return START_MS + round(self.monotonic_s() * 1000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


# --- vendors ---------------------------------------------------------------------------------------------------------


def reply_of(text: str = "Paris.", **changes: Any) -> Reply:
    fields: dict[str, Any] = {
        "vendor_id": "msg_1",
        "vendor_model": "x",
        "parts": (Text(text),),
        "finish_reason": "stop",
        "usage": USAGE,
    }
    return Reply(**{**fields, **changes})


WHOLE: tuple[StreamEvent, ...] = (
    StreamStart("msg_1", "x"),
    TextDelta("Par"),
    TextDelta("is."),
    Finish("stop"),
    UsageReport(USAGE),
)


@dataclass
class ScriptedStream:
    """Events in order; a number is a pause in seconds, an exception is raised at its place.

    With ``is_legible`` the events behind an exception can be read.
    """

    script: Sequence[StreamEvent | BaseException | float] = WHOLE
    at: int = 0
    closes: int = 0
    usage_so_far: TokenUsage | None = None
    is_legible: bool = False

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> StreamEvent:
        while self.at < len(self.script):
            step = self.script[self.at]
            if isinstance(step, float):
                await asyncio.sleep(step)
                self.at += 1
                continue
            self.at += 1
            if isinstance(step, BaseException):
                raise step
            return step
        raise StopAsyncIteration

    def pass_over(self) -> bool:
        return self.is_legible

    async def aclose(self) -> None:
        self.closes += 1


@dataclass
class ScriptedProvider:
    """Does per model and attempt what the script says: a reply, a stream, a failure, or a function of the call."""

    script: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    async def _next(self, call: Call) -> Any:
        self.calls.append(call)
        self.times_s.append(asyncio.get_running_loop().time())
        steps = self.script.get(call.deployment.model.id)
        if not steps:
            # No exception: dispatch would take it for the vendor's.
            pytest.fail(f"{call.deployment.model.id} was asked once more than the script says")
        step = steps.pop(0)
        if callable(step):
            step = await step(call)
        if isinstance(step, BaseException):
            raise step
        return step

    async def complete(self, call: Call) -> Reply:
        step = await self._next(call)
        assert isinstance(step, Reply)
        return step

    async def open_stream(self, call: Call) -> ScriptedStream:
        step = await self._next(call)
        assert isinstance(step, ScriptedStream)
        return step

    @property
    def asked(self) -> list[str]:
        return [call.deployment.model.id for call in self.calls]


def after(pause_s: float, step: Any) -> Callable[[Call], Awaitable[Any]]:
    """The step, once the pause is over."""

    async def wait(call: Call) -> Any:
        await asyncio.sleep(pause_s)
        return step

    return wait


# --- quality ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScriptedQuality:
    """Losses by provider model, None for a model that nothing is known of; the threshold is the tolerance itself."""

    losses: dict[str, float | None]
    has_ground: bool = True
    support: float = 0.9
    base_output_tokens: float = 40.0
    revision: str = "quality-revision"

    def score(self, features: Features, model_keys: Sequence[str]) -> Scores:
        losses = [self.losses.get(key) for key in model_keys]
        return Scores(
            complexity=0.25,
            quality=tuple(0.8 - (loss or 0.0) for loss in losses),
            width=tuple(0.01 for _ in losses),
            placement=tuple(Placement("none" if loss is None else "own") for loss in losses),
            support=self.support,
            has_ground=self.has_ground,
            kind="text",
            output_tokens=self.base_output_tokens,
        )

    def predicted_loss(self, scores: Scores, premium_index: int) -> tuple[float, ...]:
        return tuple(round(scores.quality[premium_index] - quality, 9) for quality in scores.quality)

    def threshold(self, tolerance: float, kind: str = "") -> float:
        return tolerance if tolerance > 0 else float("-inf")


# --- the book --------------------------------------------------------------------------------------------------------


class HookedLedger(MemoryLedger):
    """The ledger in memory, with a place to fail or to wait before a write or a sync."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Line] = []
        self.before_append: Callable[[], Awaitable[None]] | None = None
        self.before_sync: Callable[[], Awaitable[None]] | None = None

    async def append(self, *lines: Line) -> int:
        if self.before_append is not None:
            await self.before_append()
        return await super().append(*lines)

    def append_later(self, line: Line) -> None:
        self.written.append(line)
        super().append_later(line)

    async def sync(self, place: int | None = None) -> None:
        if self.before_sync is not None:
            await self.before_sync()

    def settlements(self) -> list[Settlement]:
        return [line for line in self.written if isinstance(line, Settlement)]

    def intents(self) -> list[Intent]:
        return [line for line in self.written if isinstance(line, Intent)]

    def rejections(self) -> list[Rejection]:
        return [line for line in self.written if isinstance(line, Rejection)]

    async def require_whole(self) -> None:
        """Every attempt was written down before it was settled, once, and none is open."""
        intents = [(line.subject.decision_id, line.attempt) for line in self.intents()]
        settled = [(line.decision_id, line.attempt) for line in self.settlements()]
        assert sorted(intents) == sorted(settled)
        assert len(set(settled)) == len(settled)
        begun: set[tuple[str, int]] = set()
        for line in self.written:
            if isinstance(line, Intent):
                begun.add((line.subject.decision_id, line.attempt))
            elif isinstance(line, Settlement):
                assert (line.decision_id, line.attempt) in begun
        rows = [row async for row in self.requests(RequestQuery(0, 2**62))]
        assert all(row.outcome != "open" for row in rows)
        assert sum(row.cost_nanousd for row in rows) == sum(line.cost_nanousd for line in self.settlements())
        holds = {(line.subject.decision_id, line.attempt): line.hold_nanousd for line in self.intents()}
        assert all(0 <= line.cost_nanousd <= holds[line.decision_id, line.attempt] for line in self.settlements())


@dataclass
class Seen:
    """The observer's side of what happened."""

    attempts: list[Settlement] = field(default_factory=list)
    finished: list[tuple[Settlement, int]] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    unclosed: int = 0

    def attempt_settled(self, intent: Intent, settlement: Settlement) -> None:
        self.attempts.append(settlement)

    def request_finished(self, intent: Intent, settlement: Settlement, cost_nanousd: int) -> None:
        self.finished.append((settlement, cost_nanousd))

    def request_rejected(self, rejection: Rejection) -> None:
        self.rejected.append(rejection)

    def budget_denied(self, budget: str) -> None:
        self.denied.append(budget)

    def budget_over(self, budget: str) -> None:
        self.over.append(budget)

    def budget_unclosed(self) -> None:
        self.unclosed += 1


# --- all together ----------------------------------------------------------------------------------------------------

CHEAP, DEAR = "cheap", "dear"


def policy_with(**upstream: Any) -> Policy:
    """Two models that both keep the default tolerance; the dear one is premium."""
    return policy_of(
        model_of(CHEAP, input_usd="1", output_usd="5", tier="economy"),
        model_of(DEAR, input_usd="1", output_usd="5.5", tier="premium"),
        premium=DEAR,
        upstream=Upstream(**upstream),
    )


@dataclass
class Stage:
    """A gateway over a script; ask it for answers and look at what the ledger holds afterwards."""

    script: dict[str, list[Any]]
    policy: Policy = field(default_factory=policy_with)
    losses: dict[str, float | None] = field(
        default_factory=lambda: {f"anthropic/{CHEAP}": 0.01, f"anthropic/{DEAR}": 0.0}
    )
    has_ground: bool = True
    ledger: Any = field(default_factory=HookedLedger)
    budgets: Any = None

    def __post_init__(self) -> None:
        self.seen = Seen()
        self.vendor = ScriptedProvider(self.script)
        self.clock = LoopClock()
        self.background = Background()
        self.cooldowns = Cooldowns(self.policy.upstream.cooldown_failures, self.policy.upstream.cooldown_s)
        self.store: Any = self.budgets or MemoryBudgets(self.clock)
        self.treasury = Treasury(self.store, self.seen, self.clock, b"salt")
        admission = Admission(self.ledger, self.seen, self.clock, self.treasury)
        self.keeper = Keeper(b"salt" * 8, self.ledger.append_later)
        self.dispatch = Dispatch(
            providers={"anthropic": self.vendor},
            admission=admission,
            ledger=self.ledger,
            clock=self.clock,
            cooldowns=self.cooldowns,
        )
        deployments = {
            name: Deployment(model, "http://vendor", "sk-secret") for name, model in self.policy.models.items()
        }
        self.gateway = Gateway(
            in_force=lambda: InForce(self.policy, deployments),
            quality=ScriptedQuality(self.losses, has_ground=self.has_ground),  # type: ignore[arg-type]
            guarding=Guarding(self.keeper, self.clock),
            admission=admission,
            dispatch=self.dispatch,
            clock=self.clock,
            background=self.background,
            salt=b"salt",
        )

    async def rows(self) -> list[Any]:
        return [row async for row in self.ledger.requests(RequestQuery(0, 2**62))]


async def read_all(stream: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
    return [event async for event in stream]
