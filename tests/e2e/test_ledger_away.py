"""A ledger that cannot write: nothing is called, nothing is answered that is not written down, and it comes back."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from benchmarks.invoice import verdict_of
from benchmarks.postgres import PostgresServer
from benchmarks.stack import GatewayProcess, bill_of
from tests.e2e.conftest import policy_text
from tests.e2e.raw import Answer, ask, require_sound, until, until_settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.simulator import SimulatorProcess

WORKERS = 4


@dataclass
class Load:
    """Clients that ask without a pause until they are told to stop, and what each was answered."""

    gateway: GatewayProcess
    answers: list[Answer] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def _work(self, worker: int) -> None:
        while not self.is_over.is_set():
            number = len(self.answers)
            # A question of its own each time: the same one again and again, paid for and failed, is a retry storm, and
            # the guards would refuse it before the ledger is asked.
            question = {"role": "user", "content": f"What is {number} plus {worker}, in words?"}
            body = {"model": "auto:economy", "messages": [question], "max_tokens": 30, "stream": number % 3 == 0}
            self.answers.append(ask(self.gateway, body))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(WORKERS) as pool:
            work = [pool.submit(self._work, worker) for worker in range(WORKERS)]
            try:
                yield
            finally:
                self.is_over.set()
            for each in work:
                each.result()

    def count(self, status: int) -> int:
        return sum(answer.status == status for answer in tuple(self.answers))

    def until_more(self, status: int, n: int = 8) -> None:
        before = self.count(status)
        until(lambda: self.count(status) >= before + n, f"{n} more answers with {status}")

    def require_written(self, simulator: SimulatorProcess) -> None:
        """Each answer is in the ledger, each refusal is the ledger's, and the vendors' bill is explained."""
        answered = [each for each in self.answers if each.status == 200]
        rows, attempts = until_settled(self.gateway, len(answered))
        written = {row.decision_id: row for row in rows}
        for each in answered:
            assert written[each.headers["x-router-decision-id"]].outcome == "answered"
        for each in self.answers:
            if each.status != 200:
                assert (each.status, each.error["code"]) == (503, "ledger_unavailable"), each.body
                assert "x-should-retry" not in each.headers
        verdict = verdict_of(attempts, bill_of(simulator))
        assert verdict.unexplained == [], verdict.shown()


def test_a_full_disk_refuses_until_there_is_room_again(gateway: GatewayProcess, simulator: SimulatorProcess) -> None:
    assert gateway.process is not None
    load = Load(gateway)
    with load.running():
        load.until_more(200)
        size = (gateway.home / "ledger.sqlite-wal").stat().st_size
        # A file of this process may grow no further: what a full disk does to a write, for the ledger's files alone.
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (size + 50_000, resource.RLIM_INFINITY))
        load.until_more(503)
        assert gateway.command("ledger", "verify").returncode == 0, "what is written is whole"
        # A smaller write may still have found room, and a log that was carried over starts again at its first byte:
        # from here on no file takes a byte, the process's own log among them, and what was under way has ended.
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        load.until_more(503)
        billed = len(bill_of(simulator))
        load.until_more(503)
        assert len(bill_of(simulator)) == billed, "no vendor is called for what cannot be written down"
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        load.until_more(200)
    load.require_written(simulator)
    require_sound(gateway)


def test_a_locked_database_refuses_until_it_is_free_again(gateway: GatewayProcess, simulator: SimulatorProcess) -> None:
    load = Load(gateway)
    with load.running():
        load.until_more(200)
        with contextlib.closing(sqlite3.connect(gateway.home / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            load.until_more(503)
            billed = len(bill_of(simulator))
            load.until_more(503)
            assert len(bill_of(simulator)) == billed
            other.execute("ROLLBACK")
        load.until_more(200)
    load.require_written(simulator)
    require_sound(gateway)


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that this test alone may end."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_postgresql_may_end_and_start_again_under_load(
    tmp_path: Path, simulator: SimulatorProcess, postgres: PostgresServer
) -> None:
    gateway = GatewayProcess(tmp_path / "home", policy_text(simulator), ledger_url=postgres.create_database())
    gateway.start()
    load = Load(gateway)
    try:
        with load.running():
            for _ in range(2):
                load.until_more(200)
                postgres.kill()
                load.until_more(503)
                billed = len(bill_of(simulator))
                load.until_more(503)
                assert len(bill_of(simulator)) == billed
                postgres.start()
                load.until_more(200)
        load.require_written(simulator)
        require_sound(gateway)
    finally:
        gateway.stop()
