"""The runaways: what once burned money, as agents on a virtual clock."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.leak_agents import (
    FRIDAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    STAMPS,
    Agent,
    Ask,
    Scenario,
    Spawn,
    called,
    prose,
    result,
    said,
    system,
    user,
)
from router.chat import Part, Text, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.chat import Message


def weekend_loop(
    seed: int = 1, *, stamp: str = "iso", per_s: float = 1.85, input_tokens: int = 40_000, output_tokens: int = 1_000,
    hours: float = 60, keys: int = 1, where: str = "end", counter: bool = False, session: str | None = None,
    latency_ms: int = 15_000, dense: int = 1_000,
) -> Scenario:  # fmt: skip
    """S1: one prompt again and again from Friday to Monday, with the time written into it.

    ``dense`` calls come at full pace; the rest of the weekend is thinned out to one a minute.
    """
    rng = random.Random(seed)
    rules, body = prose(rng, 60), prose(rng, 400)
    gap_ms = SECOND_MS / per_s

    def one(index: int, at_ms: int) -> Ask:
        time = STAMPS[stamp](at_ms)
        mark = f"Attempt {index}. " if counter else ""
        text = {"end": f"{body}\n{mark}The time is {time}.", "start": f"[{time}] {mark}{body}"}.get(
            where, f"{body[:900]} at {time} {mark}{body[900:]}"
        )
        answer = (Text(prose(random.Random(seed * 1_000_003 + index), 60)),)
        return Ask(
            0, (system(rules), user(text)), answer, input_tokens, output_tokens, latency_ms=latency_ms,
            session_id=None if session is None else f"{session}-{index}" if session == "rotate" else session,
            key_id=f"key-{index % keys}", leaves=index == 5 * keys,
        )  # fmt: skip

    def caller(index: int) -> Callable[[], Agent]:
        def go() -> Agent:
            yield one(index, FRIDAY_MS + round(index * gap_ms))

        return go

    calls = min(int(hours * HOUR_MS / gap_ms), dense)
    agents = tuple((round(index * gap_ms), caller(index)) for index in range(calls))
    # The rest of the weekend, thinned out: one call a minute is enough to see whether the stop holds.
    late = range(calls, calls + int((hours * HOUR_MS - calls * gap_ms) / MINUTE_MS))
    first_ms = round(calls * gap_ms)

    def later(index: int, at_ms: int) -> Callable[[], Agent]:
        def go() -> Agent:
            yield one(index, FRIDAY_MS + at_ms)

        return go

    rest = tuple(
        (first_ms + (index - calls) * MINUTE_MS, later(index, first_ms + (index - calls) * MINUTE_MS)) for index in late
    )
    return Scenario(
        "S1", is_runaway=True, agents=agents + rest, end_ms=round(hours * HOUR_MS) + HOUR_MS, stop_after_refusals=10**9
    )


LEGIT_TURNS = 9


def recursion(
    seed: int = 1, *, shape: str = "chat", session: str = "kept", ticket: bool = False, calls: int = 400,
    first_tokens: int = 4_000, slope: int = 650, output_tokens: int = 600, gap_ms: int = 2_000,
) -> Scenario:  # fmt: skip
    """S2: an agent that calls itself.

    ``shape``: ``chat`` goes on with itself, ``grown`` in one message that grows, ``nested`` hands its answer to itself
    in a new conversation.
    """
    rng = random.Random(seed)

    def go() -> Agent:
        task = prose(rng, 300)
        messages: tuple[Message, ...] = (system("You are a planner."), user(task))
        text, told = task, None
        index = 0
        while index < calls:
            answer = prose(rng, 450)
            name = {"kept": "run-1", "dropped": None, "rotated": f"run-{index // 25}", "lying": f"run-{rng.random()}"}[
                session
            ]
            told = yield Ask(
                gap_ms if index else 0, messages, (Text(answer),), first_tokens + slope * index, output_tokens,
                latency_ms=4_000, session_id=name, ticket=told.ticket if ticket and told else None,
                leaves=index == LEGIT_TURNS,
            )  # fmt: skip
            if told.refused:
                continue
            index += 1
            note = prose(rng, 35)
            if shape == "chat":
                messages = (*messages, said(Text(answer)), user(note))
            elif shape == "grown":
                text = f"{text}\n{answer}\n{note}"
                messages = (messages[0], user(text))
            else:
                messages = (messages[0], user(f"Your task:\n{answer}\n{note}"))

    return Scenario("S2", is_runaway=True, agents=((0, go),), end_ms=calls * 20 * SECOND_MS, stop_after_refusals=200)


def fan_out(
    seed: int = 1, *, branching: int = 5, depth: int = 4, turns: int = 8, tokens: int = 30_000,
    output_tokens: int = 800,
    ticket: bool = True, descendants_max: int = 200,
) -> Scenario:  # fmt: skip
    """S4: agents that start agents.

    With ``ticket`` children carry their parent's; without, their task stands in its answer.
    """
    rng = random.Random(seed)
    rules = prose(rng, 60)
    begun = [0]

    def agent(level: int, task: str, parent_ticket: str | None, name: str) -> Agent:
        messages: tuple[Message, ...] = (system(rules), user(task))
        begun[0] += 1
        leaves = begun[0] == descendants_max + 2
        tasks = [prose(rng, 50) for _ in range(branching if level < depth else 0)]
        calls = [called(rng.getrandbits(32), "spawn", {"task": each}) for each in tasks]
        for turn in range(turns):
            parts: tuple[Part, ...] = (
                tuple(calls) if turn == 0 and calls else (called(rng.getrandbits(32), "search", {"q": prose(rng, 4)}),)
            )
            told = yield Ask(
                500, messages, parts, tokens, output_tokens, latency_ms=3_000,
                ticket=parent_ticket if ticket and turn == 0 else None, leaves=leaves and turn == 0,
            )  # fmt: skip
            if told.refused:
                return
            if turn == 0:
                for number, each in enumerate(tasks):
                    child = agent(level + 1, each, told.ticket, f"{name}.{number}")
                    yield Spawn(child, rng.randrange(2_000))
            results = tuple(result(part, prose(rng, 80)) for part in parts if isinstance(part, ToolCall))
            messages = (*messages, said(*parts), *results)

    return Scenario(
        "S4",
        is_runaway=True,
        agents=((0, lambda: agent(0, prose(rng, 120), None, "0")),),
        end_ms=HOUR_MS,
        stop_after_refusals=5_000,
    )


def retry_storm(
    seed: int = 1, *, requests: int = 500, layers: int = 3, tries: int = 3, share: float = 0.3, all_fail: bool = False,
    tokens: int = 20_000, output_tokens: int = 2_000,
) -> Scenario:  # fmt: skip
    """S5: layers of retries, each of which tries the layer below three times. Timeouts are billed."""
    rng = random.Random(seed)

    def caller(index: int) -> Callable[[], Agent]:
        text = prose(random.Random(seed * 7_919 + index), 120)

        def go() -> Agent:
            for attempt in range(tries**layers):
                fails = all_fail or rng.random() < share
                told = yield Ask(
                    200 * 2 ** (attempt % tries), (user(text),), () if fails else (Text(prose(rng, 60)),), tokens,
                    output_tokens, latency_ms=10_000, outcome="failed" if fails else "answered", is_due=not attempt,
                )  # fmt: skip
                if told.refused is None and not fails:
                    return

        return go

    return Scenario(
        "S5",
        is_runaway=True,
        agents=tuple((index * 600, caller(index)) for index in range(requests)),
        end_ms=4 * HOUR_MS,
    )


def tool_loop(
    seed: int = 1, *, tools: int = 3, per_hour: int = 1_042, context: int = 500_000, cached_share: float = 0.95,
    errors: bool = False, stamp: str = "none", output_tokens: int = 300, lead: int = 10,
) -> Scenario:  # fmt: skip
    """S7: the same few tools, with the same results, in a context that is read from the cache."""
    rng = random.Random(seed)

    def go() -> Agent:
        now_ms = FRIDAY_MS
        messages: tuple[Message, ...] = (system(prose(rng, 60)), user(prose(rng, 100)))
        fixed = [(f"tool_{each}", {"path": prose(rng, 3)}, prose(rng, 40)) for each in range(tools)]
        index = 0
        while True:
            if index < lead:
                call, text = called(index, "read_file", {"path": prose(rng, 3)}), prose(rng, 60)
            else:
                name, arguments, text = fixed[index % tools]
                call = called(index, name, arguments)
                text = f"{'Error: ' if errors else ''}{text} ({STAMPS[stamp](now_ms)})"
            cached = round(context * cached_share)
            told = yield Ask(
                HOUR_MS // per_hour - 2_000, messages, (call,), context, output_tokens, cached, latency_ms=2_000,
                leaves=index == lead + 1 + 4 * tools,
            )  # fmt: skip
            now_ms = told.now_ms
            if told.refused:
                continue
            messages = (*messages, said(call), result(call, text))[-60:]
            index += 1

    return Scenario("S7", is_runaway=True, agents=((0, go),), end_ms=3 * HOUR_MS, stop_after_refusals=100)
