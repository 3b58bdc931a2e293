"""What is compared with what, and that each variant's policy is one that the gateway takes."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.__main__ import main
from benchmarks.figures import Round
from benchmarks.switches import LOADS, ON, VARIANTS, compared, print_table
from benchmarks.systems import LLAMA, POLICY
from router.config.load import load_policy
from router.config.prices import load_catalog

if TYPE_CHECKING:
    from pathlib import Path


def rounds_of(cpu_us: dict[str, list[float]]) -> list[Round]:
    return [
        Round(number, load, variant, 1_000, 2.0, each / 1_000, 0.1, 0.02)
        for load in LOADS
        for variant, values in cpu_us.items()
        for number, each in enumerate(values, 1)
    ]


def test_everything_on_is_compared_with_each_other_within_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    others = {variant: [1_000.0, 2_000.0, 4_000.0] for variant in VARIANTS if variant != ON}
    found: dict[str, dict[str, Any]] = compared(rounds_of({ON: [1_500.0, 3_000.0, 6_600.0], **others}), "plain")
    assert set(found) == set(VARIANTS)
    assert found[ON]["on_cpu_over"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    off = found["tollgate, all off"]
    assert off["on_cpu_over"] == {"median": 1.5, "low": 1.5, "high": 1.65}
    assert off["cpu_us"]["median"] == 2_000
    assert off["per_s"]["median"] == 500
    print_table({"plain": found})
    assert re.search(r"plain .*all off .*500 .*2,000 .*1\.50", capsys.readouterr().out)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_a_policy_that_says_what_its_name_does(variant: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(vendor="http://127.0.0.1:1", llama=LLAMA) + VARIANTS[variant].more)
    (tmp_path / "keys.yaml").write_text("version: 1\nkeys: []\n")
    policy = load_policy(path, load_catalog(), date(2026, 12, 1))
    has_budgets = variant in (ON, "tollgate, no guards")
    assert (len(policy.budgets), policy.guards.is_on) == (
        3 if has_budgets else 0,
        variant in (ON, "tollgate, no budgets"),
    )
    assert VARIANTS[variant].ledger == ("memory://" if variant.endswith("all off") else None)


def test_rounds_must_be_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["switches", "--rounds", "0"]) == 2
    assert "above 0" in capsys.readouterr().err
