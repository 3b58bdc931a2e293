"""Loops whose every turn holds a fresh id, and work that is done by id: the ones are stopped, the others pass."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from benchmarks.leak_agents import WORDS, called, result, said, system, user
from router.errors import AdmissionError
from router.guards.events import Asked, event_of, plain_of
from router.guards.opaque import OPAQUE_MAX, is_opaque, without_ids
from tests.router.guards.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.chat import Message, ToolCall

Step = tuple[str, object, str]
CENTS = 10_000_000
TURNS = 300


@dataclass
class Steps:
    """What an agent asks its tools for and what they say, turn after turn."""

    rng: random.Random = field(default_factory=lambda: random.Random(7))
    last: str = "start"

    def hex(self, chars: int = 16) -> str:
        return f"{self.rng.getrandbits(chars * 4):0{chars}x}"

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def cursor(self) -> str:
        alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return "eyJ" + "".join(self.rng.choices(alphabet, k=37))

    def words(self, count: int) -> str:
        return " ".join(self.rng.choices(WORDS, k=count))

    def following(self, made: str) -> str:
        """The token that the call before gave back; ``made`` is given back now."""
        before, self.last = self.last, made
        return before


def played(step: Callable[[Steps, int], Step], *, opening: str = "Go on until it is done.", turns: int = TURNS) -> int:
    """How many calls of an agent pass until one is refused, at five cents each; each refusal ends it."""
    asking, steps = Asking(), Steps()
    messages: tuple[Message, ...] = (system("You are an agent."), user(opening))
    for turn in range(turns):
        name, arguments, text = step(steps, turn)
        call: ToolCall = called(steps.rng.getrandbits(32), name, arguments)
        try:
            asking.ask(messages, cost=5 * CENTS, wait_ms=2_000, answer=(call,))
        except AdmissionError:
            return turn
        messages = (*messages, said(call), result(call, text))
    return turns


LISTED = [f"{index:04d}" + uuid.UUID(int=random.Random(index).getrandbits(128)).hex[4:] for index in range(TURNS)]
LIST = "Delete these objects one by one: " + " ".join(LISTED)

RUNAWAYS: dict[str, Callable[[Steps, int], Step]] = {
    "the result has a request id": lambda s, _: ("status", {}, json.dumps({"is": "pending", "request_id": s.hex()})),
    "a trace id and a time": lambda s, n: (
        "status", {}, json.dumps({"is": 1, "trace": s.uuid(), "at": f"2027-01-15T08:{n // 30:02d}:{n % 60:02d}Z"}),
    ),
    "milliseconds since 1970": lambda s, n: (
        "status", {}, json.dumps({"is": "pending", "at": 1_800_000_000_123 + 2_000 * n, "span": s.hex(32)}),
    ),
    "a vendor's kind of id": lambda s, _: ("status", {}, f"pending, see req_01{s.cursor()}"),
    "a snowflake": lambda s, _: ("status", {}, f"pending ({s.rng.randrange(10**17, 10**18)})"),
    "the arguments hold a nonce": lambda s, _: ("status", {"nonce": s.hex()}, '{"is":"pending"}'),
    "two tools, each with a handle": lambda s, n: (
        ("lock", "unlock")[n % 2], {"handle": s.hex()}, json.dumps({"ok": True, "handle": s.hex()}),
    ),
    "a handle is handed back and forth": lambda s, n: (
        ("lock", "unlock")[n % 2], {"handle": s.following(made := s.uuid())}, json.dumps({"ok": True, "handle": made}),
    ),
    "pages that are all empty": lambda s, _: (
        "scan", {"cursor": s.following(made := s.cursor())}, json.dumps({"items": [], "next": made}),
    ),
}  # fmt: skip
LEGITIMATE: dict[str, Callable[[Steps, int], Step]] = {
    "records by uuid that differ in words": lambda s, _: ("read", {"id": s.uuid()}, f"{s.uuid()}: {s.words(6)}"),
    "records by uuid that differ in numbers": lambda s, _: (
        "read", {"id": s.uuid()}, json.dumps({"id": s.uuid(), "total": s.rng.randrange(100_000)}),
    ),
    "a job from 1 to 100 percent": lambda s, n: (
        "poll", {"job": "job-7f3a9c2e11d04b5a"}, json.dumps({"done": f"{n // 3 + 1} %", "request_id": s.hex()}),
    ),
    "a job that counts bytes": lambda s, n: ("poll", {}, f"{(n + 1) * 73_801_337} of 99000000000 bytes ({s.uuid()})"),
    "pages by cursor": lambda s, _: (
        "list", {"cursor": s.following(made := s.cursor())}, json.dumps({"items": s.words(8), "next": made}),
    ),
    "pages of nothing but keys": lambda s, _: (
        "list", {"cursor": s.following(made := s.cursor())},
        json.dumps({"keys": [f"logs/2024/{s.hex(20)}.gz" for _ in range(10)], "next": made}),
    ),
    "pages of commits": lambda s, _: ("log", {"after": s.last}, "\n".join(s.hex(40) for _ in range(20))),
    "orders by their numbers": lambda s, n: ("ship", {"order": f"ORD-2024-{n:06d}ab"}, '{"ok":true}'),
    "frames of a film": lambda _s, n: ("render", {"out": f"frame{n:012d}.png"}, "done"),
    "objects off a list in the prompt": lambda _s, n: ("delete", {"id": LISTED[n]}, '{"ok":true}'),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNAWAYS)
def test_a_loop_is_stopped_though_each_of_its_turns_holds_a_fresh_id(name: str) -> None:
    assert played(RUNAWAYS[name]) <= 26


@pytest.mark.parametrize("name", LEGITIMATE)
def test_work_that_is_done_by_id_passes(name: str) -> None:
    assert played(LEGITIMATE[name], opening=LIST if "list in" in name else "Go on until it is done.") == TURNS


def test_objects_off_a_list_that_a_tool_gave_are_work_and_what_comes_of_them_may_be_the_same() -> None:
    def step(_: Steps, turn: int) -> Step:
        return ("list", {}, " ".join(LISTED)) if turn == 0 else ("delete", {"id": LISTED[turn]}, '{"ok":true}')

    assert played(step) == TURNS


@pytest.mark.parametrize(
    "word",
    [
        "3f2a9c1e77d04b5a", "550e8400-e29b-41d4-a716-446655440000", "task_550E8400-E29B-41D4-A716-446655440000",
        "req_011CSHoEeqs5C35K2UUqR7Fy", "eyJsYXN0IjoiMTIzNCJ9NDU2", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "1541815603606036480", "01HF3K9XTMZ8Q2V5WCR7BNE4GA", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "V1StGXR8_Z5jdHi6B-myT",
        "q3/Fz0xk/8mBt1+Yw5R2cA==",
    ],
)  # fmt: skip
def test_what_looks_drawn_at_random_is_opaque(word: str) -> None:
    assert is_opaque(word)


@pytest.mark.parametrize(
    "word",
    [
        "ORD-2024-000123ab", "frame000000012.png", "part00000012", "step-12-of-100-done", "progress_34_percent",
        "python3-dateutil", "covid19vaccines", "gpt-4o-mini-2024-07-18", "12345678901234", "getUserProfile",
        "claude-3-5-sonnet-20241022", "2024-11-06-report-v2-final-03", "iPhone-14-Pro-Max-256GB",
        "internationalisation", "2024-Q3-report-final", "checkpoint000012000", "feed00000012",
    ],
)  # fmt: skip
def test_what_was_written_or_counts_is_not(word: str) -> None:
    assert not is_opaque(word)


def test_the_bound_on_ids_is_of_different_ones() -> None:
    steps = Steps()
    few = [steps.hex() for _ in range(OPAQUE_MAX)]
    assert without_ids("got " + " ".join(few * 3), "get {}", ()) == "got " + " ".join(["\x03"] * 3 * OPAQUE_MAX)
    more = "got " + " ".join([*few, steps.hex()])
    assert without_ids(more, "get {}", ()) is more


def test_an_event_of_an_older_gateway_is_still_read() -> None:
    keeper = Asking()
    keeper.ask("Hello")
    (asked, *_) = [event for event in keeper.keeper.outbox if isinstance(event, Asked)]
    plain = plain_of(asked._replace(outline=5))
    assert event_of(plain) == asked._replace(outline=5)
    assert event_of(plain[:-1]) == asked
