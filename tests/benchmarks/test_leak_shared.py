"""A recursion spread over several gateways: no call meets its parent at one of them, and it is stopped all the same.

On a virtual clock, over real stores; all scenarios are ``python -m benchmarks leak --shared``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.leak_play import Player
from benchmarks.leak_scenarios import recursion, tool_loop
from benchmarks.leak_shared import SharedGate, Sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.leak_agents import Scenario
    from benchmarks.leak_play import Played

RATIO_MAX = 1.5


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with Sites(tmp_path) as started:
        yield started


def _played(scenario: Scenario, sites: Sites, store: str, gateways: int) -> Played:
    player = Player(scenario)
    player.gate = gate = SharedGate(sites, store, gateways, player.played.trips.append)
    try:
        return player.play()
    finally:
        gate.close()


@pytest.mark.parametrize("make", [recursion, tool_loop])
def test_a_runaway_spread_over_gateways_leaks_no_more_than_at_one(make: Callable[[], Scenario], sites: Sites) -> None:
    for store, gateways in (("redis", 2), ("postgresql", 2), ("sqlite", 3)):
        ratio = _played(make(), sites, store, gateways).ratio
        assert ratio is not None, store
        assert ratio <= RATIO_MAX, store


def test_gateways_that_share_rulings_alone_do_not_see_it(sites: Sites) -> None:
    """Why what each of them saw is shared: the check that the test above can fail."""
    stopped, unseen = (_played(recursion(), sites, "memory", gateways).ratio for gateways in (1, 2))
    assert stopped is not None
    assert unseen is not None
    assert stopped <= RATIO_MAX < unseen
