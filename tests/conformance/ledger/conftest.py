from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from router.stores import open_ledger
from tests.lines import StillClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.ports import Ledger
    from router.stores.sql.ledger import SqlLedger


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
async def sql_ledger(sql_url: str, tmp_path: Path, clock: StillClock) -> AsyncIterator[SqlLedger]:
    ledger = await open_ledger(sql_url, home=tmp_path, clock=clock)
    yield ledger
    await ledger.aclose()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> AsyncIterator[Ledger]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'ledger.sqlite'}"}
    url = urls.get(request.param) or request.getfixturevalue("postgres_url")
    opened = await open_ledger(url, home=tmp_path, clock=clock)
    yield opened
    await opened.aclose()
