"""`tollgate serve --workers 2`: several processes that answer as one gateway, and come and go as one."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest

from benchmarks.processes import family_of
from benchmarks.stack import GatewayProcess
from tests.e2e.conftest import policy_text
from tests.e2e.test_serve import ask, in_force, until
from tests.e2e.test_serve import refused as refused_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.simulator import SimulatorProcess

WORKERS = 2


@pytest.fixture
def gateway(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path / "home", policy_text(simulator), workers=WORKERS)
    running.start()
    try:
        until(lambda: "Tollgate  http" in running.log.read_text())
        yield running
    finally:
        running.stop()


def workers_of(gateway: GatewayProcess) -> set[int]:
    assert gateway.process is not None
    return set(family_of(gateway.process.pid)) - {gateway.process.pid}


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def counted(gateway: GatewayProcess) -> float:
    """The requests that all workers have counted, whichever of them is asked."""
    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=30) as answer:
        found = re.findall(r"^tollgate_requests_total\{.*\} (\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(map(float, found))


def reported(gateway: GatewayProcess) -> int:
    totals = gateway.read("/v1/reports/savings")["totals"]
    assert isinstance(totals["requests"], int)
    return totals["requests"]


def test_whichever_worker_is_asked_speaks_for_all(gateway: GatewayProcess) -> None:
    assert len(workers_of(gateway)) == WORKERS
    assert gateway.log.read_text().count("Tollgate  http") == 1
    first = in_force(gateway)["revision"]
    for _ in range(30):
        assert ask(gateway)[0] == 200
    until(lambda: counted(gateway) == 30)
    until(lambda: reported(gateway) == 30)
    assert {counted(gateway) for _ in range(12)} == {30}
    assert {reported(gateway) for _ in range(12)} == {30}

    gateway.policy.write_text(gateway.policy_text + "# edited\n")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: first not in {in_force(gateway)["revision"] for _ in range(12)})
    until(lambda: len({in_force(gateway)["revision"] for _ in range(12)}) == 1)
    assert gateway.is_alive()


def test_a_key_that_another_worker_has_answered_is_charged_once(gateway: GatewayProcess) -> None:
    answers = [ask(gateway, Idempotency_Key="order-7") for _ in range(12)]
    given = [said["id"] for status, said, _ in answers if status == 200]
    refused = [said["error"]["code"] for status, said, _ in answers if status != 200]
    assert len(set(given)) == 1
    assert set(refused) <= {"idempotency_conflict"}
    assert gateway.read("/v1/reports/savings")["totals"]["answered"] == 1


def test_a_worker_that_dies_is_started_again_and_nobody_is_turned_away(gateway: GatewayProcess) -> None:
    for _ in range(10):
        assert ask(gateway)[0] == 200
    before = workers_of(gateway)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        assert ask(gateway)[0] == 200
    until(lambda: '"worker started again"' in gateway.log.read_text())
    assert len(workers_of(gateway)) == WORKERS
    assert victim not in workers_of(gateway)
    until(lambda: counted(gateway) == 30)
    assert reported(gateway) == 30


def test_a_worker_that_cannot_start_leaves_the_work_to_the_others(gateway: GatewayProcess) -> None:
    sound = gateway.policy.read_text()
    gateway.policy.write_text("version: 1\n")
    os.kill(min(workers_of(gateway)), signal.SIGKILL)
    until(lambda: gateway.log.read_text().count('"worker ended"') >= 3)
    for _ in range(10):
        assert ask(gateway)[0] == 200
    gateway.policy.write_text(sound)
    until(lambda: '"worker started again"' in gateway.log.read_text())
    assert len(workers_of(gateway)) == WORKERS


def test_all_end_with_the_parent_asked_or_killed(gateway: GatewayProcess) -> None:
    workers = workers_of(gateway)
    assert gateway.stop() == 0
    assert not any(map(is_there, workers))
    gateway.start()
    until(lambda: gateway.log.read_text().count("Tollgate  http") == 2)
    workers = workers_of(gateway)
    assert len(workers) == WORKERS
    gateway.kill()
    until(lambda: not any(map(is_there, workers)))


def test_what_keeps_a_gateway_from_starting_is_said_once(tmp_path: Path) -> None:
    several = ("--workers", str(WORKERS))
    code, said = refused_by(tmp_path, *several, TOLLGATE_HOST="0.0.0.0")
    assert code == 3
    assert said.startswith("refusing to listen on 0.0.0.0 without keys: ")
    assert said.count("\n") == 1
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nname: x\nmodels: 7\nrouting: 8\n")
    code, said = refused_by(tmp_path, *several, "--policy", str(policy))
    assert code == 3
    assert said.splitlines()[0] == f"{policy}:3: models: must be a block of keys"
    code, said = refused_by(tmp_path, *several, TOLLGATE_LEDGER_URL="memory://")
    assert (code, said) == (
        3,
        "TOLLGATE_LEDGER_URL: a ledger in memory belongs to one process, and there are to be several workers\n",
    )
    assert refused_by(tmp_path, TOLLGATE_WORKERS="many") == (3, "TOLLGATE_WORKERS: must be a whole number in 1..64\n")
    assert refused_by(tmp_path, "--workers", "0")[0] == 2
