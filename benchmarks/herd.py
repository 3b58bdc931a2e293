"""Many dear calls at once on one dollar: what is spent with reservations, and what with check-then-act."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.figures import percentile, significant
from benchmarks.interleavings import START_MS, WINDOWS, CheckThenAct, Strict
from router.budgets import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.interleavings import Purse

WORKERS = 200
ROUNDS = 200
LIMIT_NANOUSD = 1_000_000_000
MOST_NANOUSD = (20_000_000, 50_000_000)
CALLS = 4


def herds(rounds: int = ROUNDS, workers: int = WORKERS) -> dict[str, dict[str, Any]]:
    """The same herds, once with each way of keeping a budget; shares are of the limit."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("reserve", "check_then_act"):
        spent = []
        for seed in range(rounds):
            claim = Claim("company", "", LIMIT_NANOUSD, is_hard=True, windows=WINDOWS)
            purse: Purse = Strict({claim.account(WINDOWS[1]): LIMIT_NANOUSD}) if name == "reserve" else CheckThenAct()
            spent.append(_stampede(purse, claim, Random(seed), workers))
        found[name] = {
            "rounds": rounds,
            "workers": workers,
            "limit_nanousd": LIMIT_NANOUSD,
            "spent_share_median": significant(percentile(spent, 0.5) / LIMIT_NANOUSD, 3),
            "spent_share_least": significant(min(spent) / LIMIT_NANOUSD, 3),
            "spent_share_most": significant(max(spent) / LIMIT_NANOUSD, 3),
            "overspent_nanousd": sum(max(0, each - LIMIT_NANOUSD) for each in spent),
        }
    return found


def _stampede(purse: Purse, claim: Claim, chance: Random, workers: int) -> int:
    """All workers call ``CALLS`` times, any of them going on at any time; what the vendors bill."""
    bill = [0]

    def work(number: int) -> Iterator[None]:
        for call in range(CALLS):
            most = chance.randint(*MOST_NANOUSD)
            may_cost = purse.reserve(START_MS, f"{number}-{call}", (claim,), most // 8, most)
            yield
            if may_cost is None:
                continue
            actual = chance.randint(may_cost // 4, may_cost)
            bill[0] += actual
            yield
            purse.settle(START_MS, f"{number}-{call}", actual)
            yield

    going = [work(number) for number in range(workers)]
    while going:
        place = chance.randrange(len(going))
        if next(going[place], purse) is purse:
            going[place] = going[-1]
            going.pop()
        purse.check()
    return bill[0]
