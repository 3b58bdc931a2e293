"""`python -m evals drift` on workloads that the test makes: other prompts alarm, the same do not."""

from __future__ import annotations

import numpy as np

from evals.drift import COMING, GRADED, SHARES, alarm_share, measure, workloads_of


def test_the_same_prompts_do_not_alarm_and_others_do() -> None:
    random = np.random.default_rng(0)
    mine, others = random.beta(2, 5, 900), random.beta(5, 2, 900)
    assert alarm_share(mine, others, 200, 0.0, 20, seed=1) <= 0.05
    assert alarm_share(mine, others, 200, 1.0, 20, seed=1) == 1.0
    assert alarm_share(mine, others, 200, 0.5, 20, seed=1) >= alarm_share(mine, others, 200, 0.1, 20, seed=1)


def test_every_workload_is_judged_at_every_size_and_small_categories_are_left_out() -> None:
    random = np.random.default_rng(0)
    categories = np.array(["a"] * 800 + ["b"] * 800 + ["c"] * 400 + ["few"] * 30)
    sizes = {1: 800, 3: 800, 9: 400}
    complexity = np.concatenate([random.beta(shape, 3, size) for shape, size in sizes.items()] + [random.random(30)])
    workloads = workloads_of(categories, complexity, GRADED + min(COMING))
    assert sorted(workloads) == ["a", "b", "c"]
    found = measure(workloads, draws=4)
    assert found["workloads"] == {"200": 3, "500": 2}
    for coming in COMING:
        row = found["alarms"][str(coming)]
        assert set(row) == set(SHARES)
        assert row["same"] <= 0.1 < row["others"]
