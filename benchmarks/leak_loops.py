"""Further runaways, as different as real life makes them: other scripts, fresh ids, several agents, empty pages."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime
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
    called,
    prose,
    result,
    said,
    system,
    user,
)
from router.chat import Image, Message, Part, Text

if TYPE_CHECKING:
    from collections.abc import Callable

CHARACTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
    "十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形"
)
INDIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
# As Chinese, Arabic, German and French write a time; and as a log does.
TIMES: dict[str, Callable[[datetime], str]] = {
    "chinese": lambda at: f"{at.year}年{at.month}月{at.day}日 {at:%H}时{at:%M}分{at:%S}秒",
    "arabic": lambda at: f"{at:%Y-%m-%d %H:%M:%S}".translate(INDIC),
    "german": lambda at: f"{at.day}. {at:%m}. {at.year}, {at:%H.%M} Uhr",
    "french": lambda at: f"le {at:%d/%m/%Y} à {at:%Hh%M}",
    "log": lambda at: f"{at:%d/%b/%Y:%H:%M:%S} +0000",
}
RULES = "You are the operations assistant of a warehouse."


def chinese(rng: random.Random, characters: int) -> str:
    """Sentences without spaces."""
    return "".join(rng.choice(CHARACTERS) + ("。" if index % 15 == 14 else "") for index in range(characters))  # noqa: PLR2004  # a sentence


def fresh_id(rng: random.Random) -> str:
    """A UUID of the replay's own."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def repeated(
    make: Callable[[random.Random, int, int], tuple[Message, ...]], *, seed: int = 1, name: str = "S10",
    gap_ms: int = 500, tokens: int = 40_000, output_tokens: int = 1_000, latency_ms: int = 5_000, leaves: int = 5,
    calls: int = 600,
) -> Scenario:  # fmt: skip
    """One request again and again, answered in other words each time; ``make`` is given its index and the time."""
    rng = random.Random(seed)

    def go() -> Agent:
        now_ms, passed = FRIDAY_MS, 0
        for index in range(calls):
            told = yield Ask(
                gap_ms, make(rng, index, now_ms), (Text(prose(rng, 60)),), tokens, output_tokens,
                latency_ms=latency_ms, leaves=passed == leaves,
            )  # fmt: skip
            now_ms, passed = told.now_ms, passed + (told.refused is None)

    return Scenario(name, is_runaway=True, agents=((0, go),), end_ms=80 * HOUR_MS, stop_after_refusals=200)


def fresh_ids(seed: int = 1, *, where: str = "prompt") -> Scenario:
    """S10: each request names itself by a fresh id, in the prompt, behind forty ids that stay, or for the model."""
    body, steady = prose(random.Random(seed), 400), " ".join(fresh_id(random.Random(each)) for each in range(40))

    def make(rng: random.Random, index: int, now_ms: int) -> tuple[Message, ...]:
        if where == "system":
            time = STAMPS["iso"](now_ms)
            return (system(f"{RULES} Session {fresh_id(rng)}, request {index}, {time}."), user(body))
        head = f"[request {fresh_id(rng)}] " if where == "prompt" else ""
        tail = f"\n{steady}\n{body}\ntrace {fresh_id(rng)}" if where == "trace" else ""
        return (system(RULES), user(f"{head}{body}{tail}"))

    return repeated(make, seed=seed)


def cron(seed: int = 1, *, time: str = "chinese") -> Scenario:
    """S11: once a minute, with the time as people and logs write it."""
    text = chinese(random.Random(seed), 60) if time == "chinese" else prose(random.Random(seed), 200)
    clock = TIMES[time]

    def make(_rng: random.Random, _index: int, now_ms: int) -> tuple[Message, ...]:
        return (system(RULES), user(f"{text}{clock(datetime.fromtimestamp(now_ms / 1000, UTC))}"))

    return repeated(make, seed=seed, name="S11", gap_ms=MINUTE_MS - 5 * SECOND_MS, calls=60 * 60)


def hourly(seed: int = 1) -> Scenario:
    """S11: once an hour, at a dollar each."""
    text = prose(random.Random(seed), 200)

    def make(_rng: random.Random, _index: int, now_ms: int) -> tuple[Message, ...]:
        return (system(RULES), user(f"{text} {STAMPS['rfc2822'](now_ms)}"))

    return repeated(make, seed=seed, name="S11", gap_ms=HOUR_MS, tokens=245_000, leaves=10, calls=60)


def talk(
    seed: int = 1, *, agents: int = 2, wrap: str = "{}", latency_ms: int = 3_000, words: int = 120,
    is_chinese: bool = False, calls: int = 300,
) -> Scenario:  # fmt: skip
    """S12: agents that answer each other in a ring, in other words each time."""
    rng = random.Random(seed)

    def go() -> Agent:
        rules = [system(prose(rng, 40)) for _ in range(agents)]
        logs: list[list[Message]] = [[user(prose(rng, 60))], *([] for _ in range(agents - 1))]
        for call in range(calls):
            log, answer = logs[call % agents], chinese(rng, 2 * words) if is_chinese else prose(rng, words)
            while True:
                told = yield Ask(
                    300, (rules[call % agents], *log), (Text(answer),), 2_000 + 300 * len(log), 300,
                    latency_ms=latency_ms, leaves=call == (LEGIT_TURNS + 2) * agents,
                )  # fmt: skip
                if told.refused is None:
                    break
            log.append(said(Text(answer)))
            logs[(call + 1) % agents].append(user(wrap.format(answer)))

    return Scenario("S12", is_runaway=True, agents=((0, go),), end_ms=40 * HOUR_MS, stop_after_refusals=200)


LEGIT_TURNS = 9


def compacted(seed: int = 1, *, kept: int = 1) -> Scenario:
    """S13: an agent that goes on with itself and keeps its task and the newest turns alone."""
    rng = random.Random(seed)

    def go() -> Agent:
        task, turns, index = user(prose(rng, 60)), tuple[Message, ...](), 0
        while index < 300:  # noqa: PLR2004  # calls
            answer = Text(prose(rng, 300))
            told = yield Ask(
                500,
                (system(RULES), task, *turns),
                (answer,),
                20_000,
                800,
                latency_ms=6_000,
                leaves=index == LEGIT_TURNS,
            )
            if told.refused is None:
                turns, index = (*turns, said(answer), user(f"Continue with part {index}."))[-2 * kept :], index + 1

    return Scenario("S13", is_runaway=True, agents=((0, go),), end_ms=40 * HOUR_MS, stop_after_refusals=200)


def nested_chinese(seed: int = 1) -> Scenario:
    """S13: an agent that hands its answer to itself, in a script without spaces."""
    rng = random.Random(seed)

    def go() -> Agent:
        task, index = chinese(rng, 300), 0
        while index < 60:  # noqa: PLR2004  # calls
            answer = chinese(rng, 600)
            told = yield Ask(
                500, (system(RULES), user(f"你的任务\n{task}")), (Text(answer),), 4_000 + 650 * index, 600,
                latency_ms=4_000, leaves=index == LEGIT_TURNS,
            )  # fmt: skip
            if told.refused is None:
                task, index = answer, index + 1

    return Scenario("S13", is_runaway=True, agents=((0, go),), end_ms=40 * HOUR_MS, stop_after_refusals=200)


def barren(seed: int = 1, *, kind: str = "pages") -> Scenario:
    """S14: tools that bring nothing, another nothing each time: empty pages, errors with other numbers, bad guesses."""
    rng = random.Random(seed)

    def step(index: int) -> tuple[str, object, str]:
        if kind == "pages":
            return "list", {"page": index, "per_page": 50}, json.dumps({"items": [], "page": index, "has_more": True})
        if kind == "errors":
            return "book", {"id": 7}, f"错误 连接被拒绝 (第{index}次 编号{rng.randrange(10**6)})"
        path = f"src/{prose(rng, 1)}/{prose(rng, 1)}{index}.py"
        return "open", {"path": path}, f"FileNotFoundError: no such file: {path}"

    def go() -> Agent:
        messages: tuple[Message, ...] = (system(RULES), user(prose(rng, 100)))
        lead, index = 5, 0
        while index < 300:  # noqa: PLR2004  # calls
            name, arguments, text = step(index) if index >= lead else ("read", {"path": prose(rng, 3)}, prose(rng, 60))
            call = called(rng.getrandbits(32), name, arguments)
            told = yield Ask(
                500, messages, (call,), 100_000, 300, 90_000, latency_ms=2_000, leaves=index == lead + 12
            )  # fmt: skip
            if told.refused is None:
                messages, index = (*messages, said(call), result(call, text)), index + 1

    return Scenario("S14", is_runaway=True, agents=((0, go),), end_ms=40 * HOUR_MS, stop_after_refusals=200)


def pictures(seed: int = 1, *, is_signed: bool = False) -> Scenario:
    """S15: the same picture again and again, with the time beside it, or behind an address that is signed anew."""

    def make(rng: random.Random, _index: int, now_ms: int) -> tuple[Message, ...]:
        query = f"?X-Amz-Date={STAMPS['compact'](now_ms)}&X-Amz-Signature={rng.getrandbits(256):064x}"
        text = "What is at the door?" if is_signed else f"{STAMPS['iso'](now_ms)} What is at the door?"
        parts: tuple[Part, ...] = (
            Text(text),
            Image(url=f"https://camera.example/door.jpg{query if is_signed else ''}"),
        )
        return (system(RULES), Message("user", parts))

    return repeated(make, seed=seed, name="S15", tokens=20_000)
