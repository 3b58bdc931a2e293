"""What runaways and legitimate traffic are made of: agents on a virtual clock, pure and seeded, over any gateway.

An agent is a generator: it yields what it does (``Ask``, ``Spawn``) and is sent what came of it (``Told``). Text is
kept short and tokens are declared beside it, since what a call costs must not decide how long a benchmark runs.
``leaves`` marks the first call at which a runaway leaves what legitimate traffic looks like: the lower bound of the
leak is what was spent up to it. Where every request is work that is due (``is_due``), it is what that work costs once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from router.chat import Message, Part, Request, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    import random

FRIDAY_MS = 1_793_988_000_000  # 2026-11-06 18:00 UTC, a Friday
SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, ``wait_ms`` after the one before ended. Tokens are what its vendor will count."""

    wait_ms: int
    messages: tuple[Message, ...]
    answer: tuple[Part, ...]
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    latency_ms: int = 1_000
    session_id: str | None = None
    ticket: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    key_id: str = "key-1"
    outcome: str = "answered"
    leaves: bool = False
    is_due: bool = False
    surface_model: str = "auto"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Another agent begins, ``wait_ms`` from now."""

    agent: Agent
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an ``Ask``: when it ended, the ticket of its response, and why it was refused, if it was."""

    now_ms: int
    ticket: str | None = None
    refused: str | None = None
    retry_after_s: float = 0.0


Agent: TypeAlias = Generator[Ask | Spawn, Told, None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Agents that begin at the given times after ``start_ms``; played until ``end_ms``."""

    name: str
    is_runaway: bool
    agents: tuple[tuple[int, Callable[[], Agent]], ...]
    end_ms: int
    start_ms: int = FRIDAY_MS
    about: str = ""
    stop_after_refusals: int = field(default=2_000)


VOCABULARY = (
    "account agenda answer balance batch board branch budget builder cable canvas carbon carrier catalog change "
    "chart  client cluster column contract copper corner course credit crystal custom daily damage data debt "
    "delay delivery  demand design detail device digit domain draft driver editor effort engine entry error "
    "estate event export fabric  factor failure farm feature field figure filter finance folder forest format "
    "freight garden gateway grain ground  growth handle harbor header history hotel income index inlet insight "
    "invoice island item journal kernel kitchen  ladder landing launch layer leader ledger letter level liquid "
    "list loader locker machine manual margin market  matter meadow measure member memory metal method mirror "
    "model module moment motor museum network notice number  object office option orchard order origin outlet "
    "output packet panel paper parcel parent parking patch path  pattern payment pencil people period permit "
    "phone picture planet plastic platform pocket policy portal powder "
)
WORDS = VOCABULARY.split()


def prose(rng: random.Random, words: int) -> str:
    """Sentences of that many words."""
    found = []
    for index in range(words):
        word = rng.choice(WORDS)
        found.append(word.capitalize() if index % 12 == 0 else word + "." if index % 12 == 11 else word)  # noqa: PLR2004  # words a sentence
    return " ".join(found)


def user(text: str) -> Message:
    """A user's turn."""
    return Message("user", (Text(text),))


def system(text: str) -> Message:
    """A system prompt."""
    return Message("system", (Text(text),))


def said(*parts: Part) -> Message:
    """An answer, as clients send it back."""
    return Message("assistant", parts)


def called(number: int, name: str, arguments: object) -> ToolCall:
    """A tool call with an id of its own."""
    return ToolCall(f"call_{number:08x}", name, json.dumps(arguments))


def result(call: ToolCall, text: str) -> Message:
    """What a tool answered."""
    return Message("tool", (ToolResult(call.id, (Text(text),)),))


STAMPS: dict[str, Callable[[int], str]] = {
    "iso": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds"),
    "iso_minutes": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
    "rfc2822": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
    "people": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime("%A, %B %d, %Y at %I:%M:%S %p"),
    "us": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime("%m/%d/%Y %I:%M:%S %p"),
    "clock": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S"),
    "compact": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ"),
    "epoch": lambda ms: str(ms // 1000),
    "epoch_ms": str,
    "none": lambda _: "now",
}


def request_of(ask: Ask) -> Request:
    """The request as a surface would have parsed it."""
    chars = sum(len(part.text) for each in ask.messages for part in each.parts if isinstance(part, Text))
    return Request("openai_chat", ask.surface_model, ask.messages, {}, body_bytes=chars + 200)
