from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals import machines
from evals.machines import SETS, TOLERANCES, Said, compared, machines_on, scored
from router.features import PromptView
from router.quality import load_quality_model

if TYPE_CHECKING:
    from pathlib import Path

VIEWS = [
    PromptView(question=b"A farmer sells 12 crates of 24 apples at 3 dollars a crate. How much does he earn?"),
    PromptView(question=b"Which gas do plants take in from the air?\nA. oxygen\nB. carbon dioxide\nC. argon\nD. neon"),
    PromptView(question=b""),
]


def test_what_differs_is_counted() -> None:
    scores, chosen = np.full((3, 2), 0.5), np.zeros((3, 4), dtype=int)
    other = scores.copy()
    other[1, 1] += 2e-3
    turned = chosen.copy()
    turned[2, 0] = 1
    found = compared(Said(scores, chosen, "a"), Said(other, turned, "b"))
    assert found == {
        "about": "b", "decisions": 12, "changed": 1, "same": pytest.approx(11 / 12),
        "largest_difference": pytest.approx(2e-3),
    }  # fmt: skip


def test_a_decision_is_the_gateways_rule() -> None:
    model = load_quality_model()
    scores, chosen = scored(VIEWS)
    assert scores.shape == (3, sum(len(names) + 1 for names in SETS))
    assert chosen.shape == (3, len(SETS) * len(TOLERANCES))
    assert chosen.max() > 0, "something is routed"
    assert (chosen[2] == 0).all(), "no ground, so premium"
    assert model.support_floor > 0


def test_processes_are_asked_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"as it is": {}, "another": machines.SETTINGS["Nehalem throughout"]}
    monkeypatch.setattr(machines, "SETTINGS", settings)
    said: list[str] = []
    found = machines_on(VIEWS, pythons=[sys.executable], say=said.append)
    assert list(found) == [*settings, "interpreter 1"]
    assert [row["changed"] for row in found.values()] == [0, 0, 0]
    assert found["as it is"]["largest_difference"] == 0
    assert f"numpy {np.__version__}" in said[0]


def test_an_interpreter_that_fails_is_no_agreement(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n", encoding="ascii")
    broken.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        machines.ask(tmp_path / "none", str(broken), {})
