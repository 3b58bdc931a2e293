"""Legitimate traffic that looks like a runaway to whoever counts only calls: it must pass."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.leak_agents import (
    HOUR_MS,
    MINUTE_MS,
    Agent,
    Ask,
    Scenario,
    called,
    prose,
    result,
    said,
    system,
    user,
)
from router.chat import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.chat import Message


def map_reduce(
    seed: int = 1, *, calls: int = 10_000, payload_words: int = 40, tokens: int = 2_000, parallel: int = 20,
    numbers: bool = False,
) -> Scenario:  # fmt: skip
    """N1: one template, many payloads; ``numbers``: payloads are rows of a table, all digits."""
    rng = random.Random(seed)
    template = prose(rng, 80)

    def worker(share: range) -> Callable[[], Agent]:
        def go() -> Agent:
            for index in share:
                row = random.Random(seed * 104_729 + index)
                payload = (
                    ", ".join(f"x{column}={row.randrange(10_000)}" for column in range(8))
                    if numbers
                    else prose(row, payload_words)
                )
                yield Ask(
                    50, (system("You sort documents."), user(f"{template}\nDocument: {payload}\nLabel:")),
                    (Text(row.choice(["positive", "negative", "mixed"])),), tokens, 20,
                )  # fmt: skip

        return go

    agents = tuple((0, worker(range(each, calls, parallel))) for each in range(parallel))
    return Scenario("N1", is_runaway=False, agents=agents, end_ms=10 * HOUR_MS)


def coding_agent(
    seed: int = 1, *, turns: int = 300, sessions: int = 1, growth: int = 400, gap_ms: int = 1_500
) -> Scenario:
    """N2: an agent that reads, edits and runs tests, hundreds of turns; results are short, and some say the same."""

    def session(index: int) -> Callable[[], Agent]:
        rng = random.Random(seed * 31 + index)

        def go() -> Agent:
            messages: tuple[Message, ...] = (system("You write code."), user(prose(rng, 150)))
            tokens = 6_000
            for turn in range(turns):
                kind = turn % 4
                if kind == 0:
                    call, text = called(turn, "read_file", {"path": f"src/{prose(rng, 2)}.py"}), prose(rng, 120)
                elif kind == 1:
                    call = called(turn, "edit_file", {"path": f"src/{prose(rng, 2)}.py", "text": prose(rng, 80)})
                    text = "The file was written."
                else:
                    call = called(turn, "run_tests", {"path": "tests/"})
                    text = "All 212 tests passed." if rng.random() < 0.5 else f"Error: 1 failed\n{prose(rng, 30)}"  # noqa: PLR2004  # half of them
                    if kind == 3:  # noqa: PLR2004  # the last of four steps
                        call, text = called(turn, "grep", {"pattern": prose(rng, 1)}), prose(rng, 25)
                told = yield Ask(
                    gap_ms, messages, (call,), tokens, 300, cached_tokens=round(tokens * 0.9), latency_ms=4_000,
                )  # fmt: skip
                if told.refused:
                    return
                messages = (*messages, said(call), result(call, text))
                tokens += growth

        return go

    return Scenario(
        "N2",
        is_runaway=False,
        agents=tuple((each * 7_000, session(each)) for each in range(sessions)),
        end_ms=10 * HOUR_MS,
    )


def eval_harness(
    seed: int = 1, *, prompts: int = 400, times: int = 5, tokens: int = 3_000, at_once: bool = True, shots: int = 300
) -> Scenario:
    """N3: each prompt five times, together or pass after pass; all share their few-shot examples."""
    rng = random.Random(seed)
    examples = prose(rng, shots)

    def asked(index: int) -> Ask:
        question = prose(random.Random(seed * 13 + index), 25)
        return Ask(
            100, (system("Answer with a letter."), user(f"{examples}\n\nQuestion: {question}\nAnswer:")),
            (Text(rng.choice("ABCD")),), tokens, 10,
        )  # fmt: skip

    def together() -> Agent:
        for index in range(prompts):
            for _ in range(times):
                yield asked(index)

    def one_pass() -> Agent:
        for index in range(prompts):
            yield asked(index)

    agents = ((0, together),) if at_once else tuple((each * 500, one_pass) for each in range(times))
    return Scenario("N3", is_runaway=False, agents=agents, end_ms=10 * HOUR_MS)


def launch_day(
    seed: int = 1, *, sessions: int = 1_500, over_ms: int = 20 * MINUTE_MS, popular: float = 0.02, tokens: int = 2_500
) -> Scenario:
    """N4: ten times the traffic at once: people who chat, some with the suggested first question."""
    rng = random.Random(seed)
    rules = prose(rng, 120)

    def chat(index: int) -> Callable[[], Agent]:
        own = random.Random(seed * 17 + index)

        def go() -> Agent:
            first = "What can you do for me?" if own.random() < popular else prose(own, 15)
            messages: tuple[Message, ...] = (system(rules), user(first))
            for turn in range(own.randrange(1, 8)):
                answer = prose(own, 80)
                yield Ask(
                    own.randrange(5_000, 60_000) if turn else 0, messages, (Text(answer),), tokens + 150 * turn, 250,
                    latency_ms=3_000,
                )  # fmt: skip
                reply = own.choice(["yes", "go on", "ok", prose(own, 12), prose(own, 20)])
                messages = (*messages, said(Text(answer)), user(reply))

        return go

    agents = tuple((rng.randrange(over_ms), chat(each)) for each in range(sessions))
    return Scenario("N4", is_runaway=False, agents=agents, end_ms=3 * HOUR_MS)


def recorded(sessions: list[tuple[Message, ...]], *, gap_ms: int = 1_500, times: int = 1) -> Scenario:
    """N-real: recorded sessions, all at once by one key, each answer the one that was recorded."""

    def replay(messages: tuple[Message, ...]) -> Callable[[], Agent]:
        def go() -> Agent:
            for index, message in enumerate(messages):
                if message.role == "assistant":
                    chars = sum(len(str(part)) for each in messages[:index] for part in each.parts)
                    yield Ask(gap_ms, messages[:index], message.parts, chars // 4, 150, latency_ms=2_000)

        return go

    agents = tuple((index * 250, replay(each)) for index, each in enumerate(sessions * times))
    return Scenario("N-real", is_runaway=False, agents=agents, end_ms=10 * HOUR_MS)
