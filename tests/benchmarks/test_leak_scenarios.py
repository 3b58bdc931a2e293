"""What the guards let through of runaways and of legitimate traffic, on a virtual clock, claude-opus-5-5's prices.

Without a gateway around them; the whole of it is ``python -m benchmarks leak``'s.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.leak import OTHER_LEGITIMATE, OTHER_RUNAWAYS
from benchmarks.leak_agents import STAMPS, prose, result, said, system, user
from benchmarks.leak_agents import called as tool_call
from benchmarks.leak_legitimate import coding_agent, eval_harness, launch_day, map_reduce, recorded
from benchmarks.leak_play import Player, load_sessions
from benchmarks.leak_scenarios import fan_out, recursion, retry_storm, tool_loop, weekend_loop
from evals.dataset import shared_data_path
from router.chat import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.leak_agents import Scenario
    from benchmarks.leak_play import Played
    from router.chat import Message

USD = 1_000_000_000
RATIO_MAX = 1.5
RECORDED = shared_data_path() / "traffic" / "tau_airline_sessions.jsonl.gz"
FEW = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))

RUNAWAYS: dict[str, Callable[[], Scenario]] = {
    "S1": weekend_loop,
    "S1 four keys": lambda: weekend_loop(keys=4, hours=0.2),
    "S1 counted": lambda: weekend_loop(counter=True, hours=0.2, where="middle"),
    "S1 rotating session": lambda: weekend_loop(session="rotate", hours=0.2, where="start"),
    "S2 chat, kept": recursion,
    "S2 chat, dropped": lambda: recursion(session="dropped"),
    "S2 grown, rotated": lambda: recursion(shape="grown", session="rotated"),
    "S2 nested, lying": lambda: recursion(shape="nested", session="lying"),
    "S2 nested, ticket": lambda: recursion(shape="nested", ticket=True),
    "S4 tickets": fan_out,
    "S4 inferred": lambda: fan_out(ticket=False),
    "S5": retry_storm,
    "S5 nothing answers": lambda: retry_storm(all_fail=True),
    "S7": tool_loop,
    "S7 errors": lambda: tool_loop(errors=True, tools=1),
    "S7 times in results": lambda: tool_loop(stamp="iso", tools=4),
}
LEGITIMATE: dict[str, Callable[[], Scenario]] = {
    "N1": lambda: map_reduce(calls=1_500),
    "N1 figures": lambda: map_reduce(calls=1_500, numbers=True),
    "N1 short": lambda: map_reduce(calls=1_000, payload_words=3, tokens=40_000),
    "N2": coding_agent,
    "N2 five": lambda: coding_agent(sessions=5, turns=80),
    "N3 at once": eval_harness,
    "N3 pass after pass": lambda: eval_harness(at_once=False),
    "N4": lambda: launch_day(sessions=700),
    "N4 a button": lambda: launch_day(sessions=1_000, popular=0.3),
}


def played(scenario: Scenario) -> Played:
    found = Player(scenario).play()
    ratio = "" if found.ratio is None else f"{found.ratio:.2f}"
    print(
        f"{scenario.name:7} spent {found.spent / USD:9.3f} USD, bound {(found.bound or 0) / USD:8.3f}, {ratio:>5} "
        f"calls {found.calls:6}, refused {found.refused:6} ({found.refused_nanousd / USD:.2f} USD) {dict(found.by)}"
    )
    return found


@pytest.mark.parametrize("name", RUNAWAYS)
def test_a_runaway_is_stopped_near_the_least_that_any_guard_lets_through(name: str) -> None:
    found = played(RUNAWAYS[name]())
    assert found.ratio is not None
    assert found.ratio <= RATIO_MAX
    assert {"stop", "throttle"} & {trip.action for trip in found.trips}
    if name.startswith("S1"):
        assert found.spent < 5 * USD


@pytest.mark.parametrize("name", LEGITIMATE)
def test_legitimate_traffic_is_never_refused(name: str) -> None:
    assert played(LEGITIMATE[name]()).refused == 0


@pytest.mark.parametrize("name", OTHER_RUNAWAYS)
def test_a_runaway_of_another_kind_is_stopped_as_near_to_it(name: str) -> None:
    found = played(OTHER_RUNAWAYS[name](1))
    assert found.ratio is not None
    assert found.ratio <= RATIO_MAX


@pytest.mark.parametrize("name", OTHER_LEGITIMATE)
def test_legitimate_traffic_of_another_kind_is_never_refused(name: str) -> None:
    assert played(OTHER_LEGITIMATE[name](1)).refused == 0


def sessions() -> list[tuple[Message, ...]]:
    """The recorded sessions, or a few made-up ones of the same kind where they are not at hand."""
    if RECORDED.exists():
        return load_sessions(RECORDED)
    print("the recorded sessions are not here: made-up ones instead")
    return [made_up(random.Random(seed)) for seed in range(60)]


def made_up(rng: random.Random) -> tuple[Message, ...]:
    rules = system("You are the desk of an airline.")
    messages: list[Message] = [rules, user("Hi!" if rng.random() < 0.2 else prose(rng, 12))]
    for _ in range(rng.randrange(4, 12)):
        if rng.random() < 0.5:
            call = tool_call(rng.getrandbits(32), "get_reservation", {"id": rng.choice("abcdef")})
            messages += [said(call), result(call, prose(random.Random(call.arguments), 40))]
        else:
            messages += [said(Text(prose(rng, 30))), user(prose(rng, 15))]
    return (*messages, said(Text("Goodbye.")))


@pytest.mark.shared
@pytest.mark.parametrize("times", [1, 3])
def test_recorded_agents_by_one_key_are_never_refused(times: int) -> None:
    assert played(recorded(sessions(), times=times)).refused == 0


@FEW
@given(
    st.integers(1, 1_000),
    st.sampled_from(sorted(STAMPS)),
    st.floats(0.1, 20),
    st.integers(20_000, 200_000),
    st.integers(1, 3),
    st.sampled_from(["start", "middle", "end"]),
    st.booleans(),
)
def test_weekend_loops_of_any_pace_size_and_format_are_stopped(
    seed: int, stamp: str, per_s: float, tokens: int, keys: int, where: str, counter: bool
) -> None:
    loop = weekend_loop(
        seed, stamp=stamp, per_s=per_s, input_tokens=tokens, keys=keys, where=where, counter=counter, hours=0.1
    )
    found = played(loop)
    assert found.ratio is not None
    assert found.ratio <= RATIO_MAX


@FEW
@given(
    st.integers(1, 1_000),
    st.sampled_from(["chat", "grown", "nested"]),
    st.sampled_from(["kept", "dropped", "rotated", "lying"]),
    st.booleans(),
    st.integers(500, 4_000),
)
def test_recursions_of_any_shape_are_stopped(seed: int, shape: str, session: str, ticket: bool, gap_ms: int) -> None:
    found = played(recursion(seed, shape=shape, session=session, ticket=ticket, gap_ms=gap_ms, calls=40))
    assert found.ratio is not None
    assert found.ratio <= RATIO_MAX


@FEW
@given(st.integers(1, 1_000), st.integers(3, 9), st.integers(3, 6), st.booleans(), st.integers(2, 10))
def test_trees_of_agents_are_stopped(seed: int, branching: int, depth: int, ticket: bool, turns: int) -> None:
    if sum(branching**level for level in range(depth + 1)) < 300:
        return
    found = played(fan_out(seed, branching=branching, depth=min(depth, 4), ticket=ticket, turns=turns))
    if found.bound is not None:  # else there were no more than two hundred
        assert found.ratio is not None
        assert found.ratio <= RATIO_MAX


@FEW
@given(st.integers(1, 1_000), st.integers(1, 4), st.integers(200_000, 900_000), st.booleans(), st.integers(0, 40))
def test_tool_loops_are_stopped(seed: int, tools: int, context: int, errors: bool, lead: int) -> None:
    found = played(tool_loop(seed, tools=tools, context=context, errors=errors, lead=lead))
    assert found.ratio is not None
    assert found.ratio <= RATIO_MAX


@FEW
@given(st.integers(1, 1_000), st.sampled_from(["N1", "N2", "N3", "N4"]), st.integers(500, 60_000))
def test_legitimate_traffic_of_any_size_passes(seed: int, kind: str, tokens: int) -> None:
    scenario = {
        "N1": lambda: map_reduce(seed, calls=400, tokens=tokens, numbers=bool(seed % 2), payload_words=2 + seed % 30),
        "N2": lambda: coding_agent(seed, turns=40, growth=tokens // 20),
        "N3": lambda: eval_harness(seed, prompts=60, tokens=tokens, shots=seed % 300, at_once=bool(seed % 2)),
        "N4": lambda: launch_day(seed, sessions=250, tokens=500 + tokens // 20, popular=seed % 30 / 100),
    }[kind]()
    assert played(scenario).refused == 0
