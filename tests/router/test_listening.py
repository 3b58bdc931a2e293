"""One address for several processes."""

from __future__ import annotations

import contextlib
import select
import socket
import sys

import pytest

from router import listening
from router.errors import ConfigError
from router.listening import CAN_SPREAD, bind, bind_several

CONNECTIONS = 200


@contextlib.contextmanager
def closing(*sockets: socket.socket):  # type: ignore[no-untyped-def]  # noqa: ANN201  # the same sockets
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


@pytest.mark.skipif(not CAN_SPREAD, reason="this system gives a connection to whichever process is quickest")
def test_connections_are_spread_over_the_sockets_of_one_address() -> None:
    with closing(*bind_several("127.0.0.1", 0, 2)) as sockets:
        addresses = {each.getsockname() for each in sockets}
        assert len(addresses) == 1
        with closing(*(socket.create_connection(next(iter(addresses))) for _ in range(CONNECTIONS))):
            taken = []
            for each in sockets:
                each.setblocking(False)
                count = 0
                while select.select([each], [], [], 0.2)[0]:
                    each.accept()[0].close()
                    count += 1
                taken.append(count)
    assert sum(taken) == CONNECTIONS
    assert min(taken) > CONNECTIONS / 5, taken


def test_an_address_that_is_taken_is_refused_also_to_several() -> None:
    with closing(bind("127.0.0.1", 0)) as (first,):
        port = first.getsockname()[1]
        for take in (lambda: bind("127.0.0.1", port), lambda: bind_several("127.0.0.1", port, 2)):
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
                take()


def test_several_take_an_address_from_nobody_else_who_is_several() -> None:
    with closing(*bind_several("127.0.0.1", 0, 2)) as sockets:
        port = sockets[0].getsockname()[1]
        with pytest.raises(ConfigError, match="Address already in use"):
            bind_several("127.0.0.1", port, 2)


def test_where_nothing_is_spread_all_have_the_same_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CAN_SPREAD", False)
    with closing(*bind_several("127.0.0.1", 0, 2)) as (first, second):
        first.close()  # one process ends, the other goes on accepting
        with closing(socket.create_connection(second.getsockname())):
            second.settimeout(5.0)
            second.accept()[0].close()


def test_the_system_that_ci_runs_on_spreads() -> None:
    """So that the tests above are never skipped there."""
    assert CAN_SPREAD or sys.platform != "linux"
