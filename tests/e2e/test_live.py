"""A live calibration that is killed in the middle: nothing is asked twice, and the dollars stay within the limit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.live import killed
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.stack import GatewayProcess

KILLS = 3
PROMPTS = 10


def test_killed_and_resumed_it_asks_nothing_twice_and_stays_within_the_limit(tmp_path: Path) -> None:
    with SimulatorProcess(seed=5, speed=0.02) as simulator:
        found = killed(tmp_path, simulator, kills=KILLS, prompts=PROMPTS, limit_usd=2.0, seed=5)
    assert found["ok"], found
    assert (found["kills"], found["begun_twice"], found["is_ended"]) == (KILLS, 0, True)
    assert found["cut_off"] > 0, "no kill met a call on its way"
    # How many is chance: a prompt whose answer was cut off is not judged.
    assert found["calls_billed"] >= PROMPTS


def test_a_limit_that_is_too_small_is_never_passed(tmp_path: Path) -> None:
    with SimulatorProcess(seed=5, speed=0.0) as simulator:
        found = killed(tmp_path, simulator, kills=0, prompts=30, limit_usd=0.02, seed=5)
    assert found["ok"], found
    assert 0 < found["calls_begun"] < 100


def test_every_call_stands_in_the_ledger_under_its_tag(gateway: GatewayProcess) -> None:
    prompts = gateway.home / "p.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Is clause {n} binding?"}) + "\n" for n in range(3)))
    options = ("--live", "--policy", str(gateway.policy), "--model", "claude-haiku", "--output-tokens", "200", "--json")
    done = gateway.command("calibrate", str(prompts), *options)
    said = json.loads(done.stdout)["live"]
    assert said["asked"] == 3 * 4
    assert (said["graded"], said["unreadable"]) == (3, 0), "the simulator's judge ends with a verdict"
    report = gateway.read("/v1/reports/savings?group_by=tag:purpose")
    (row,) = [each for each in report["groups"] if each["tag:purpose"] == "calibration"]
    assert (row["requests"], row["realized_cost_usd"]) == (12, said["spent_usd"])
    assert done.returncode == 1  # three graded prompts are too few to calibrate by
    for path in gateway.home.glob("*"):
        if path.is_file() and not path.name.startswith("p."):
            assert b"Is clause 1 binding" not in path.read_bytes(), path.name
