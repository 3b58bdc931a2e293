"""The benchmark of budgets finds what it is there to find."""

from __future__ import annotations

import asyncio
import socket
import threading
from random import Random
from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import main
from benchmarks.budgets import MUST_BE_ZERO, interleaved
from benchmarks.herd import herds
from benchmarks.interleavings import CheckThenAct, Strict, World, hard_limits, interleave, limits_of
from benchmarks.turns import Turns
from router.budgets.book import Book
from router.budgets.transitions import Transitions

if TYPE_CHECKING:
    from pathlib import Path


def test_interleavings_of_the_book_are_sound_and_the_same_again() -> None:
    found = interleaved(300, seed=5, processes=1)
    assert [found[name] for name in MUST_BE_ZERO] == [0] * len(MUST_BE_ZERO)
    assert found["transitions"] > 300
    assert found["charged_nanousd"] >= found["billed_nanousd"] > 0
    assert interleave(5) == interleave(5)


def test_check_then_act_overspends_under_the_same_load() -> None:
    found = [interleave(seed) for seed in range(300)]
    assert sum(each["loose_over_limit"] for each in found) > 0
    assert sum(each["billed_over_limit"] for each in found) == 0


@pytest.mark.parametrize("broken", ["room", "held", "charge"])
def test_a_broken_book_is_found(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    if broken == "room":
        monkeypatch.setattr(Transitions, "_room", lambda self, terms: 10**9)
        expected = "overshoots"
    elif broken == "held":
        close = Transitions._close

        def keep(self: Transitions, now_ms: int, name: str, charge: int, state: str) -> None:
            if name in self.reservations and self.reservations[name].state == "open":
                self.reservations[name].held_nanousd -= self.reservations[name].held_nanousd % 2
            close(self, now_ms, name, charge, state)

        monkeypatch.setattr(Transitions, "_close", keep)
        expected = "held_at_end_nanousd"
    else:
        monkeypatch.setattr(Book, "settle", lambda self, now_ms, name, actual: None)
        expected = "off_nanousd"
    assert sum(interleave(seed)[expected] for seed in range(40)) > 0


def test_a_restart_kills_the_workers_and_keeps_the_sums() -> None:
    restarts = 0
    for seed in range(200):
        chance = Random(seed)
        limits = limits_of(chance)
        strict = Strict(hard_limits(limits))
        world = World(Random(seed), strict, limits)
        world.run()
        strict.close(world.now_ms)
        restarts += strict.found["restarts"]
        assert strict.found["off_nanousd"] == strict.found["held_at_end_nanousd"] == 0
    assert restarts > 0


def test_a_herd_spends_the_limit_and_not_more() -> None:
    found = herds(rounds=3, workers=60)
    assert 0.9 <= found["reserve"]["spent_share_least"] <= found["reserve"]["spent_share_most"] <= 1
    assert found["check_then_act"]["spent_share_median"] > 1


def test_check_then_act_adds_up_once() -> None:
    world = World(Random(1), CheckThenAct(), (100, 100, 100))
    purse = world.purse
    assert purse.reserve(world.now_ms, "a", world.claims(0), 1, 60) == 60
    assert purse.extend(world.now_ms, "a", 40)
    assert not purse.extend(world.now_ms, "a", 1)
    purse.settle(world.now_ms, "a", 90)
    purse.settle(world.now_ms, "a", 90)
    assert purse.reserve(world.now_ms, "b", world.claims(0), 1, 60) == 10


def test_turns_are_counted_by_who_speaks_again(tmp_path: Path) -> None:
    path = tmp_path / "server"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            with server.accept()[0] as peer:
                while data := peer.recv(100):
                    peer.sendall(data.upper())

        thread = threading.Thread(target=answer)
        thread.start()
        with Turns(path) as turns:

            async def talk() -> None:
                reader, writer = await asyncio.open_unix_connection(turns.path)
                for _ in range(3):
                    writer.write(b"hello")
                    assert await reader.readexactly(5) == b"HELLO"
                writer.close()
                await writer.wait_closed()

            asyncio.run(talk())
            thread.join(10)
            assert turns.count == 3


@pytest.mark.parametrize("words", [["--stores", "memory,etcd"], ["--interleavings", "0"]])
def test_what_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["budgets", *words]) == 2
    assert "budgets:" in capsys.readouterr().err
