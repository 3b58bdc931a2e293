"""One gateway's process for a test: reserves and settles on one budget until nothing is left, then tells its sum.

``python hammer.py URL LIMIT START_MS SEED``; its last line on stdout is what it charged, in nano-USD.
"""

from __future__ import annotations

import asyncio
import sys
from random import Random

from router.budgets import Claim, Grant, Window
from router.stores.budgets import open_budgets
from tests.lines import StillClock

AT_ONCE = 8


async def hammer(url: str, limit: int, start_ms: int, seed: int) -> int:
    chance = Random(seed)
    store = await open_budgets(url, clock=StillClock(start_ms))
    claims = [
        Claim("company", "", limit, True, (Window(0, 2**53),)),
        Claim("team", "search", limit, True, (Window(0, 2**53),)),
    ]
    charged = 0

    async def ask(worker: int) -> None:
        nonlocal charged
        misses = number = 0
        while misses < 5:
            number += 1
            name = f"{seed}-{worker}-{number}"
            own = claims[:: chance.choice((1, -1))]
            answer = await store.reserve(
                name, own, least_nanousd=1, most_nanousd=chance.randint(1, 400), lease_ms=60_000
            )
            if not isinstance(answer, Grant):
                misses += 1
                await asyncio.sleep(0.002)
                continue
            actual = chance.randint(0, answer.held_nanousd)
            await asyncio.sleep(0)
            await store.settle(name, actual)
            charged += actual

    print("ready", flush=True)
    await asyncio.gather(*(ask(worker) for worker in range(AT_ONCE)))
    await store.aclose()
    return charged


if __name__ == "__main__":
    print(asyncio.run(hammer(sys.argv[1], *map(int, sys.argv[2:]))))
