"""A keeper, and requests to it, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.leak_play import Choice
from router.chat import Message, Part, Request, Text
from router.guards import Keeper, Verdict
from router.policy import Caller, Guards, Terms

if TYPE_CHECKING:
    from router.ledger import GuardTrip

SALT = b"salt" * 8
USD = 1_000_000_000
NOW_MS = 1_800_000_000_000


def user(text: str) -> Message:
    return Message("user", (Text(text),))


@dataclass
class Asking:
    trips: list[GuardTrip] = field(default_factory=list)
    bounds: Guards = field(default_factory=Guards)
    now_ms: int = NOW_MS
    asked: int = 0

    def __post_init__(self) -> None:
        self.keeper = Keeper(SALT, self.trips.append)

    def ask(
        self,
        text: str | tuple[Message, ...],
        *,
        cost: int = USD // 5,
        wait_ms: int = 500,
        caller: Caller | None = None,
        terms: Terms | None = None,
        is_pinned: bool = True,
        answer: tuple[Part, ...] = (),
        outcome: str = "answered",
    ) -> Verdict:
        self.now_ms += wait_ms
        self.asked += 1
        messages = (user(text),) if isinstance(text, str) else text
        request = Request("openai_chat", "auto", messages, {}, body_bytes=100)
        choice = Choice(f"dec_{self.asked}", cost, is_pinned)
        verdict = self.keeper.admit(
            request, caller or Caller(key_id="k1", team="t1"), terms or Terms(), choice, self.bounds, self.now_ms
        )
        self.keeper.observe(verdict.mark, now_ms=self.now_ms + 10, outcome=outcome, cost_nanousd=cost, parts=answer)
        return verdict
