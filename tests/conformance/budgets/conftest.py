from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.budgets.lessees import Asked
from tests.conformance.budgets.stands import STANDS, Stand
from tests.lines import StillClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.ports import BudgetStore


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=STANDS)
def stand(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> Stand:
    return STANDS[request.param](request, tmp_path, clock)


@pytest.fixture(params=[name for name in STANDS if name != "memory"])
def keeping_stand(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> Stand:
    """One whose reservations survive their process."""
    return STANDS[request.param](request, tmp_path, clock)


@pytest.fixture
async def store(stand: Stand) -> AsyncIterator[BudgetStore]:
    opened = await stand.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def other(stand: Stand, store: BudgetStore) -> AsyncIterator[BudgetStore]:
    """Another gateway's store over the same state; the same object where there is none but it."""
    if not stand.keeps:
        yield store
        return
    opened = await stand.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def shared(stand: Stand) -> AsyncIterator[Asked]:
    opened = await stand.open()
    yield Asked(opened)
    await opened.aclose()
