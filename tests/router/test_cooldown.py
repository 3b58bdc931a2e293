from __future__ import annotations

from router.cooldown import Cooldowns


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
