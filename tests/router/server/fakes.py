"""A gateway that answers from a script, behind the real HTTP surface."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CollectorRegistry

from router.ask import ask_of
from router.bill import Bill
from router.chat import Finish, RawFrames, Reply, StreamStart, Text, TextDelta, ToolCall, ToolCallDelta, UsageReport
from router.clock import SystemClock
from router.decision import Choice, CostRange, Decision, choose, explained
from router.errors import InvalidApiKeyError, RouterError
from router.gateway import Answer
from router.ledger import Intent, Rejection, Settlement
from router.policy import Caller
from router.quality import load_quality_model
from router.server import Idempotency, ServerParts, create_app
from router.stores.memory import MemoryLedger
from router.subject import refused_subject_of, subject_of
from router.telemetry import exposition
from router.tokens import TokenUsage, Usage
from tests.builders import candidate_of, model_of, policy_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from router.chat import Request, StreamEvent, Surface
    from router.policy import Policy, Terms
    from router.quality import QualityModel

SALT = b"s" * 32
USAGE = Usage(TokenUsage(input_uncached=9, cache_read=3, output_text=5, output_reasoning=2))
PREMIUM = CostRange(900, 1_000, 1_100)
POLICY = policy_of(model_of("opus", tier="premium"), model_of("haiku", tier="economy"), premium="opus")
HELLO: tuple[StreamEvent, ...] = (
    StreamStart("msg_1", "claude-haiku"),
    TextDelta("Hello "),
    TextDelta("there"),
    Finish("stop"),
    UsageReport(USAGE),
)
TOOL_STREAM: tuple[StreamEvent, ...] = (
    StreamStart("msg_2", "claude-haiku"),
    ToolCallDelta(0, "", id="call_1", name="weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallDelta(0, '"Rome"}'),
    Finish("tool_calls"),
    UsageReport(USAGE),
)
RAW_HEAD = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"llama","choices":[{"index":0,'
RAW_START = RAW_HEAD + b'"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}\n\n'
RAW_FINISH = RAW_HEAD + b'"delta":{},"finish_reason":"stop"}]}\n\n'
RAW_STREAM: tuple[StreamEvent, ...] = (
    StreamStart("c1", "llama"),
    RawFrames(RAW_START, 2),
    RawFrames(RAW_FINISH),
    Finish("stop", is_forwarded=True),
    UsageReport(USAGE),
)


@cache
def quality_model() -> QualityModel:
    return load_quality_model(None)


def reply_of(text: str = "Hello there", *calls: ToolCall, **changes: Any) -> Reply:
    fields: dict[str, Any] = {
        "vendor_id": "msg_1",
        "vendor_model": "claude-haiku",
        "parts": ((Text(text),) if text else ()) + calls,
        "finish_reason": "tool_calls" if calls else "stop",
        "usage": USAGE,
    }
    return Reply(**{**fields, **changes})


@dataclass
class FakeStream:
    """The face of AnswerStream over a script; an exception in the script is raised at its place."""

    gateway: FakeGateway
    decision: Decision
    model: str
    dropped: tuple[str, ...]
    script: Sequence[StreamEvent | Exception]
    usage: Usage | None = None
    bill: Bill | None = None
    has_ready: bool = False
    cascade: str | None = None
    budget_remaining_nanousd: int | None = None
    lineage: str | None = None
    guard: str | None = None
    is_closed: bool = False

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        for event in self.script:
            await asyncio.sleep(self.gateway.pause_s)
            if isinstance(event, Exception):
                raise event
            self.gateway.sent_events += 1
            self.gateway.has_sent.set()
            if isinstance(event, UsageReport):
                self.usage = event.usage
            yield event
        self.bill = self.gateway.bill_of(self.decision, self.usage)

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class FakeGateway:
    """Decides as the core does about names and tiers, then answers with what the test put into it."""

    ledger: MemoryLedger
    policy: Policy = POLICY
    quality: QualityModel = field(default_factory=quality_model)
    reply: Reply = field(default_factory=reply_of)
    script: Sequence[StreamEvent | Exception] = HELLO
    failure: Exception | None = None
    dropped: tuple[str, ...] = ()
    pause_s: float = 0.0
    cost_nanousd: int = 1_234
    is_modelled: bool = True
    requests: list[tuple[Request, Caller, Terms]] = field(default_factory=list)
    rejections: list[RouterError] = field(default_factory=list)
    streams: list[FakeStream] = field(default_factory=list)
    sent_events: int = 0
    has_sent: asyncio.Event = field(default_factory=asyncio.Event)
    clock: SystemClock = field(default_factory=SystemClock)

    def decision_of(self, request: Request, caller: Caller, terms: Terms) -> Decision:
        ask = ask_of(request, caller, terms, self.policy)
        candidates = (
            candidate_of("opus", loss=0.0, cost=1_000, dropped=self.dropped),
            candidate_of("haiku", loss=0.01, cost=100, dropped=self.dropped),
        )
        threshold = ask.tolerance
        choice = choose(
            candidates,
            premium="opus",
            tolerance=ask.tolerance,
            threshold=threshold,
            pinned=ask.pinned,
            has_ground=True,
        )
        assert isinstance(choice, Choice)
        return Decision(
            decision_id=f"dec_{len(self.requests):016x}",
            model=choice.order[0],
            order=choice.order,
            reason=choice.reason,
            is_pinned=ask.pinned is not None,
            quality_tier=ask.quality_tier,
            tolerance=ask.tolerance,
            threshold=threshold,
            premium="opus",
            complexity=0.25,
            support=0.9,
            kind="text",
            has_ground=True,
            expected_loss=0.01,
            expected_cost_nanousd=100,
            candidates=explained(candidates, choice, "opus", threshold),
            rules=(),
            features={"words": 3.0},
            policy_revision="policy-revision",
            price_revision="price-revision",
            quality_revision="quality-revision",
        )

    def bill_of(self, decision: Decision, usage: Usage | None) -> Bill:
        candidate = decision.candidate(decision.model)
        return Bill(
            decision_id=decision.decision_id,
            model=decision.model,
            reason=decision.reason,
            complexity=decision.complexity,
            expected_loss=candidate.predicted_loss,
            cost_nanousd=self.cost_nanousd,
            premium_cost=PREMIUM if self.is_modelled else None,
            dropped=candidate.dropped,
            attempts=1,
            usage_source="estimated" if usage is None else "reported",
        )

    async def _decided(self, request: Request, caller: Caller, terms: Terms) -> Decision:
        decision = self.decision_of(request, caller, terms)
        self.requests.append((request, caller, terms))
        await asyncio.sleep(self.pause_s)
        if self.failure is not None:
            raise self.failure
        subject = subject_of(request, caller, terms, decision, SALT)
        now = self.clock.now_ms()
        await self.ledger.append(
            Intent(subject, 1, now, decision.model, "anthropic", 10_000, now + 60_000, {"model": decision.model}),
            Settlement(
                decision.decision_id,
                1,
                now + 5,
                "answered",
                USAGE.tokens,
                "reported",
                self.cost_nanousd,
                PREMIUM,
                latency_ms=5,
            ),
        )
        return decision

    async def answer(self, request: Request, caller: Caller, terms: Terms) -> Answer:
        decision = await self._decided(request, caller, terms)
        return Answer(self.reply, self.bill_of(decision, self.reply.usage))

    async def open_stream(self, request: Request, caller: Caller, terms: Terms) -> FakeStream:
        decision = await self._decided(request, caller, terms)
        self.streams.append(FakeStream(self, decision, decision.model, self.dropped, self.script))
        return self.streams[-1]

    def route(self, request: Request, caller: Caller, terms: Terms) -> Decision:
        return self.decision_of(request, caller, terms)

    def reject(self, error: RouterError, caller: Caller, terms: Terms, surface: Surface) -> str:
        self.rejections.append(error)
        decision_id = f"dec_rejected{len(self.rejections)}"
        subject = refused_subject_of(decision_id, surface, caller, terms, self.policy, "quality-revision")
        self.ledger.append_later(Rejection(subject, self.clock.now_ms(), error.code))
        return decision_id


@dataclass
class FakeKeys:
    """Keys by their text."""

    known: dict[str, Caller]

    def caller_of(self, presented: str, now_ms: int) -> Caller:
        if presented not in self.known:
            raise InvalidApiKeyError("the API key is unknown")
        return self.known[presented]

    def callers(self, now_ms: int) -> tuple[Caller, ...]:
        return tuple(self.known.values())


@dataclass
class FakeStatus:
    revision: str = "policy-revision"
    broken: str | None = None


KEYS = FakeKeys(
    {
        "key-search": Caller(key_id="k1", team="search"),
        "key-legal": Caller(key_id="k2", team="legal", allowed_tiers=frozenset({"premium"})),
    }
)


def parts_of(**changes: Any) -> ServerParts:
    ledger = changes.pop("ledger", None) or MemoryLedger()
    clock = changes.pop("clock", None) or SystemClock()
    fields: dict[str, Any] = {
        "gateway": FakeGateway(ledger),
        "ledger": ledger,
        "keys": None,
        "admin_key": None,
        "policy_status": FakeStatus,
        "clock": clock,
        "registry": CollectorRegistry(),
        "idempotency": Idempotency(ledger, clock),
        "salt": SALT,
    }
    fields |= changes
    return ServerParts(metrics=partial(exposition, fields["registry"]), **fields)


@dataclass
class Sent:
    """A response as an ASGI application sent it."""

    status: int
    headers: dict[str, str]
    writes: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)


async def send_to(
    app: Callable[..., Any],
    method: str = "POST",
    path: str = "/v1/chat/completions",
    *,
    body: bytes | list[bytes] = b"",
    headers: dict[str, str] | None = None,
    then_leave: bool = False,
) -> Sent:
    """Call an ASGI application; ``then_leave`` sends a disconnect right after the body, else after the response."""
    pieces = [body] if isinstance(body, bytes) else body
    incoming: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
        for index, piece in enumerate(pieces)
    ]
    if then_leave:
        incoming.append({"type": "http.disconnect"})
    sent: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw_path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw_path,
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    over.set()
    start = sent[0]
    assert start["type"] == "http.response.start"
    assert not sent[-1].get("more_body", False)
    return Sent(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        [message["body"] for message in sent[1:]],
    )


@contextlib.contextmanager
def served(parts: ServerParts) -> Iterator[str]:
    """The application behind a real server on a free port; yields its address."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(parts), log_config=None, access_log=False, lifespan="off", loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        sock.close()
