"""The address that is listened on: by one process, or by several that the system spreads connections over."""

from __future__ import annotations

import socket
import sys

from router.errors import ConfigError

LISTEN_BACKLOG = 2048
# Linux alone gives each new connection to one of the sockets that share an address, evenly (socket(7)).
CAN_SPREAD = sys.platform == "linux"


def bind(host: str, port: int, *, is_spread: bool = False) -> socket.socket:
    """A listening socket; with ``is_spread`` others share the address. Raises ConfigError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_spread:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
        sock.listen(LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port or TOLLGATE_PORT"
        ) from error
    return sock


def bind_several(host: str, port: int, count: int) -> list[socket.socket]:
    """A listening socket of one address for each of several processes. Raises ConfigError.

    Elsewhere than on Linux all are the same socket, and whichever process is quickest takes a connection.
    """
    first = bind(host, port)  # alone: where others listen on the address already, this says so
    if not CAN_SPREAD:
        return [first, *(first.dup() for _ in range(count - 1))]
    port = first.getsockname()[1]
    first.close()
    return [bind(host, port, is_spread=True) for _ in range(count)]
