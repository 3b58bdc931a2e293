from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cooldown import LOOK_AGAIN_S, NO_PROBE, Cooldowns


def test_rests_after_failures_in_a_row_and_is_probed_when_the_rest_is_over() -> None:
    cooldowns = Cooldowns(failures_max=3, cooldown_s=30)
    for now_s in (0.0, 1.0):
        cooldowns.failed("m", now_s)
        assert cooldowns.rest_s("m", now_s) == 0
    cooldowns.failed("m", 2.0)
    assert cooldowns.rest_s("m", 2.0) == 30
    assert cooldowns.resting(12.0) == {"m": 20}
    assert cooldowns.rest_s("m", 32.0) == 0
    cooldowns.failed("m", 33.0)
    assert cooldowns.rest_s("m", 33.0) == 30, "a failed probe goes straight back to rest"


def test_one_success_forgets_every_failure() -> None:
    cooldowns = Cooldowns(failures_max=2, cooldown_s=30)
    cooldowns.failed("m", 0.0)
    cooldowns.succeeded("m")
    cooldowns.failed("m", 1.0)
    assert cooldowns.rest_s("m", 1.0) == 0


def test_retry_after_lengthens_the_rest_within_bounds() -> None:
    cooldowns = Cooldowns(failures_max=1, cooldown_s=10)
    cooldowns.failed("long", 0.0, retry_after_s=60)
    cooldowns.failed("absurd", 0.0, retry_after_s=1e9)
    cooldowns.failed("short", 0.0, retry_after_s=1)
    assert [cooldowns.rest_s(name, 0.0) for name in ("long", "absurd", "short")] == [60, 100, 10]


def test_models_rest_alone() -> None:
    cooldowns = Cooldowns(failures_max=1, cooldown_s=10)
    cooldowns.failed("a", 0.0)
    assert cooldowns.rest_s("b", 0.0) == 0


def rested() -> Cooldowns:
    """One whose rest ended at 10 s."""
    cooldowns = Cooldowns(failures_max=1, cooldown_s=10)
    cooldowns.failed("m", 0.0)
    assert cooldowns.begin("m", 9.9, 60.0) is None
    return cooldowns


def test_a_deployment_that_is_well_is_asked_by_all_at_once() -> None:
    cooldowns = Cooldowns(failures_max=2, cooldown_s=10)
    cooldowns.failed("m", 0.0)
    assert [cooldowns.begin("m", 0.0, 60.0) for _ in range(3)] == [NO_PROBE] * 3
    assert cooldowns.rest_s("m", 0.0) == 0


def test_one_request_at_a_time_probes_and_for_the_others_the_deployment_rests() -> None:
    cooldowns = rested()
    assert cooldowns.begin("m", 10.0, 60.0)
    assert cooldowns.begin("m", 10.0, 60.0) is None
    assert cooldowns.begin("m", 69.9, 60.0) is None
    assert 0 < cooldowns.rest_s("m", 10.0) <= LOOK_AGAIN_S
    assert set(cooldowns.resting(69.9)) == {"m"}


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "nothing", "never"])
def test_what_a_probe_tells_decides_who_may_ask_next(outcome: str) -> None:
    cooldowns = rested()
    probe = cooldowns.begin("m", 10.0, 60.0)
    assert probe
    if outcome == "succeeded":
        cooldowns.succeeded("m")
    elif outcome == "failed":
        cooldowns.failed("m", 12.0)
    if outcome != "never":
        cooldowns.end("m", probe)
    rest_s = {"succeeded": 0.0, "failed": 10.0, "nothing": 0.0, "never": LOOK_AGAIN_S}[outcome]
    assert cooldowns.rest_s("m", 12.0) == rest_s
    asked = [cooldowns.begin("m", 70.0, 60.0) for _ in range(2)]
    assert asked[0] is not None
    assert asked[1] == (NO_PROBE if outcome == "succeeded" else None)


def test_the_end_of_a_probe_that_took_too_long_is_not_the_end_of_the_next_one() -> None:
    cooldowns = rested()
    late = cooldowns.begin("m", 10.0, 60.0)
    second = cooldowns.begin("m", 70.0, 60.0)
    assert late
    assert second
    cooldowns.end("m", late)
    assert cooldowns.begin("m", 71.0, 60.0) is None
    cooldowns.end("m", second)
    assert cooldowns.begin("m", 71.0, 60.0)


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["ask", "ok", "bad", "odd", "lost"])), max_size=60))
def test_never_two_probes_at_once_and_never_for_ever_none(steps: list[tuple[float, str]]) -> None:
    cooldowns, now_s, under_way = Cooldowns(failures_max=2, cooldown_s=10), 0.0, dict[int, float]()
    for pause_s, what in steps:
        now_s += pause_s
        under_way = {probe: until_s for probe, until_s in under_way.items() if until_s > now_s}
        if what == "ask":
            probe = cooldowns.begin("m", now_s, 15.0)
            if probe:
                assert not under_way
                under_way[probe] = now_s + 15.0
        elif what != "lost":
            if what == "ok":
                cooldowns.succeeded("m")
            elif what == "bad":
                cooldowns.failed("m", now_s)
            for probe in under_way:
                cooldowns.end("m", probe)
            under_way = {}
        if under_way:
            assert cooldowns.rest_s("m", now_s) > 0
    assert cooldowns.begin("m", now_s + 16.0, 15.0) is not None
