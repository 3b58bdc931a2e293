"""Further legitimate traffic that looks like a runaway: short turns, the same again, work handed on. It must pass."""

from __future__ import annotations

import json
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
from benchmarks.leak_loops import fresh_id
from router.chat import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.chat import Message

Row = tuple[tuple["Message", ...], str]


def rows(
    name: str, asked: Sequence[Row], *, tokens: int = 2_000, output_tokens: int = 20, parallel: int = 10
) -> Scenario:
    """Requests with the answers that they get, from some workers."""

    def worker(share: Sequence[Row]) -> Callable[[], Agent]:
        def go() -> Agent:
            for messages, answer in share:
                yield Ask(50, messages, (Text(answer),), tokens, output_tokens)

        return go

    agents = tuple((0, worker(asked[each::parallel])) for each in range(parallel))
    return Scenario(name, is_runaway=False, agents=agents, end_ms=20 * HOUR_MS)


def in_system(seed: int = 1, *, calls: int = 1_500) -> Scenario:
    """N5: the document stands in the system prompt, and the question is the same."""
    rng = random.Random(seed)
    documents = [f"You sort documents. Document:\n{prose(rng, 60)}" for _ in range(calls)]
    return rows("N5", [((system(each), user("Which label?")), rng.choice("ABC")) for each in documents], tokens=6_000)


def few_shot(seed: int = 1, *, calls: int = 1_000, template_words: int = 220) -> Scenario:
    """N5: examples as turns, whose short answers are real answers' too; the instructions stand in every turn."""
    rng = random.Random(seed)
    template = prose(rng, template_words)
    shots = [
        each
        for label in ("positive", "negative", "mixed")
        for each in (user(f"{template}\nText: {prose(rng, 12)}"), said(Text(label)))
    ]
    asked = [(system("You label."), *shots, user(f"{template}\nText: {prose(rng, 4)}")) for _ in range(calls)]
    return rows("N5", [(each, rng.choice(["positive", "negative", "mixed"])) for each in asked])


def file_lines(seed: int = 1, *, lines: int = 4_000) -> Scenario:
    """N6: a file line by line, a tenth of whose lines are a brace."""
    rng = random.Random(seed)
    texts = ["}" if rng.random() < 0.1 else prose(rng, 7) for _ in range(lines)]  # noqa: PLR2004  # a tenth
    asked = [((system("You translate."), user(f"Translate to Rust: {each}")), each) for each in texts]
    return rows("N6", asked, tokens=500, output_tokens=15, parallel=4)


def sensors(seed: int = 1, *, calls: int = 1_500) -> Scenario:
    """N6: rows of figures that all get the same JSON."""
    rng = random.Random(seed)
    answer = json.dumps({"anomaly": False, "reason": "all values are within range", "severity": "none"})
    figures = [", ".join(f"s{column}={rng.randrange(1_000) / 10}" for column in range(8)) for _ in range(calls)]
    return rows("N6", [((system("You watch."), user(f"Is anything wrong?\n{each}")), answer) for each in figures])


def support_desk(
    seed: int = 1, *, people: int = 1_500, over_ms: int = 12 * HOUR_MS, is_canned: bool = False
) -> Scenario:
    """N7: buttons with first questions, over a pooled key, all day; ``is_canned``: the first answer is the same."""
    rng = random.Random(seed)
    rules, canned = system(prose(rng, 120)), "Please tell me your order number and the address that it goes to."
    firsts = ("Where is my order?",) if is_canned else ("Where is my order?", "I want a refund", "Talk to a human")

    def chat(index: int) -> Callable[[], Agent]:
        own = random.Random(seed * 17 + index)

        def go() -> Agent:
            messages: tuple[Message, ...] = (rules, user(own.choice(firsts)))
            for turn in range(own.randrange(1, 5)):
                answer = canned if is_canned and not turn else prose(own, 60)
                yield Ask(
                    own.randrange(5_000, 60_000) if turn else 0, messages, (Text(answer),), 3_500 + 150 * turn, 200,
                    latency_ms=3_000,
                )  # fmt: skip
                messages = (*messages, said(Text(answer)), user(own.choice(["yes", "ok", prose(own, 8)])))

        return go

    agents = tuple((rng.randrange(over_ms), chat(each)) for each in range(people))
    return Scenario("N7", is_runaway=False, agents=agents, end_ms=48 * HOUR_MS)


def spoken(seed: int = 1, *, people: int = 6, is_game: bool = False) -> Scenario:
    """N8: people who say next to nothing, fast: by voice, or in a game."""
    words = ["hit", "hit", "stand"] if is_game else ["yes", "uh-huh", "go on", "and then?", "", "mm"]

    def talk(index: int) -> Callable[[], Agent]:
        own = random.Random(seed * 17 + index)

        def go() -> Agent:
            messages: tuple[Message, ...] = (system("You speak."), user("Let us play." if is_game else "Tell a story."))
            for turn in range(own.randrange(60, 100)):
                answer = Text(prose(own, 25))
                yield Ask(
                    own.randrange(1_500, 6_000) if turn else 0, messages, (answer,), 1_500 + 40 * turn, 60,
                    latency_ms=own.randrange(800, 1_600),
                )  # fmt: skip
                messages = (*messages, said(answer), user(own.choice(words)))

        return go

    agents = tuple((index * MINUTE_MS, talk(index)) for index in range(people))
    return Scenario("N8", is_runaway=False, agents=agents, end_ms=5 * HOUR_MS)


def handed_on(seed: int = 1, *, steps: int = 60, at_once: int = 3) -> Scenario:
    """N9: the summary so far goes into the next prompt, with the next chapter."""

    def chain(index: int) -> Callable[[], Agent]:
        own = random.Random(seed * 7 + index)

        def go() -> Agent:
            summary = ""
            for _ in range(steps):
                text = f"The summary so far:\n{summary}\nRefine it with this:\n{prose(own, 300)}\nNew summary:"
                summary = prose(own, 120)
                yield Ask(
                    200, (system("You sum up books."), user(text)), (Text(summary),), 3_000, 300, latency_ms=3_000
                )

        return go

    return Scenario(
        "N9", is_runaway=False, agents=tuple((each * 1_000, chain(each)) for each in range(at_once)), end_ms=5 * HOUR_MS
    )


def completions(seed: int = 1, *, seconds: int = 200) -> Scenario:
    """N9: an editor that asks five times a second, with a little more text each time; half of the answers are empty."""
    rng = random.Random(seed)

    def go() -> Agent:
        before, after, typed = prose(rng, 400), prose(rng, 200), ""
        for _ in range(5 * seconds):
            answer = "" if rng.random() < 0.5 else prose(rng, rng.choice([1, 2, 6, 15]))  # noqa: PLR2004  # half of them
            yield Ask(
                50, (system("Complete the code."), user(f"{before}\n{typed}<CURSOR>{after}")),
                (Text(answer),) if answer else (), 2_500, 20, 2_000, latency_ms=150,
            )  # fmt: skip
            is_taken = answer and rng.random() < 0.2  # noqa: PLR2004  # a fifth
            typed += f"{answer}\n" if is_taken else rng.choice("abcdef (){}=\n") * rng.randrange(1, 4)

    return Scenario("N9", is_runaway=False, agents=((0, go),), end_ms=HOUR_MS)


def patient(seed: int = 1, *, kind: str = "progress", turns: int = 150) -> Scenario:
    """N10: tools that say nearly the same: a job's progress, days without an event, errors that become fewer."""
    rng = random.Random(seed)
    job = {"name": "reindex the catalogue of spare parts", "owner": "team data", "message": "all is well so far"}

    def step(turn: int) -> tuple[str, object, str]:
        if kind == "progress":
            return "status", {"job": 7}, json.dumps({**job, "state": "running", "progress": f"{turn // 2} %"}, indent=2)
        if kind == "days":
            day = f"2026-{1 + turn // 28:02d}-{1 + turn % 28:02d}"
            return "read_day", {"day": day}, json.dumps({"events": [prose(rng, 6)] if rng.random() < 0.1 else []})  # noqa: PLR2004  # a tenth
        if kind == "logs":
            return "read_logs", {"page": turn}, "\n".join(f"ERROR {prose(rng, 10)} failed" for _ in range(12))
        if kind == "rows":
            return "update", {"row": turn, "value": prose(rng, 2)}, json.dumps({"ok": True, "errors": []})
        text = (
            f"src/{prose(rng, 1)}.c:{rng.randrange(900)}: error: '{prose(rng, 1)}' undeclared\n{60 - turn} errors left"
        )
        return "bash", {"cmd": f"sed -i s/{prose(rng, 1)}/{prose(rng, 1)}/ a.c && make"}, text if turn < 60 else "done"  # noqa: PLR2004  # errors

    def go() -> Agent:
        messages: tuple[Message, ...] = (system("You write code."), user(prose(rng, 120)))
        for turn in range(turns):
            name, arguments, text = step(turn)
            call = called(rng.getrandbits(32), name, arguments)
            told = yield Ask(1_500, messages, (call,), 6_000 + 300 * turn, 250, 5_400 + 270 * turn, latency_ms=4_000)
            if told.refused:
                return
            messages = (*messages, said(call), result(call, text))

    return Scenario("N10", is_runaway=False, agents=((0, go),), end_ms=10 * HOUR_MS)


def tickets(seed: int = 1, *, agents: int = 200, turns: int = 4) -> Scenario:
    """N11: an agent for each ticket, whose first turn names it by its id alone; the next ones look it up."""

    def agent(index: int) -> Callable[[], Agent]:
        own = random.Random(seed * 91 + index)

        def go() -> Agent:
            ticket = fresh_id(own)
            messages: tuple[Message, ...] = (system("You work."), user(f"Resolve the ticket {ticket}."))
            for turn in range(turns):
                call = called(own.getrandbits(32), f"step_{turn}", {"id": ticket, "q": prose(own, 3)})
                told = yield Ask(300, messages, (call,), 12_000 + 500 * turn, 150, latency_ms=2_000)
                if told.refused:
                    return
                messages = (*messages, said(call), result(call, prose(own, 40)))

        return go

    return Scenario(
        "N11", is_runaway=False, agents=tuple((each * 2_000, agent(each)) for each in range(agents)), end_ms=5 * HOUR_MS
    )
