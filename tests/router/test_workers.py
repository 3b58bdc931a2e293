"""What a parent does for a worker that cannot be started; the rest is in tests/e2e/test_workers.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router import workers
from router.errors import ConfigError
from router.listening import CAN_SPREAD, bind, bind_several
from router.workers import Workers

if TYPE_CHECKING:
    import socket
    from pathlib import Path


@pytest.mark.skipif(not CAN_SPREAD, reason="all workers have one socket there, which stays open")
async def test_a_long_pause_lets_go_of_the_address_and_asks_for_it_until_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []

    def grudging(host: str, port: int, *, is_spread: bool = False) -> socket.socket:
        asked.append(is_spread)
        if len(asked) == 1:
            raise ConfigError("cannot listen")
        return bind(host, port, is_spread=is_spread)

    monkeypatch.setattr(workers, "bind", grudging)
    monkeypatch.setattr(workers, "PATIENCE_S", 0.0)
    settings: Any = None
    herd = Workers(settings, bind_several("127.0.0.1", 0, 2), tmp_path, None)
    before, other = herd.sockets
    address = other.getsockname()
    await herd._pause(0, 0.01)  # what it waits for is minutes away from outside
    assert before.fileno() < 0
    assert herd.sockets[0].getsockname() == address
    assert asked == [True, True]
    assert [each.getMessage() for each in caplog.records] == ["worker cannot listen"]
    for each in herd.sockets:
        each.close()
