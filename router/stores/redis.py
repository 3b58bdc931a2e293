"""One Redis for what gateways share: every wait is bounded, and one that could lose money is refused at start."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from router.errors import BudgetStoreUnavailableError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMES = ("redis", "rediss")
DEFAULT_PORT = 6379
CONNECT_S, ANSWER_S = 2.0, 2.0
CONNECTIONS_MAX = 64
# HSET with several fields and effect replication of scripts, which reads the time before it writes, are older.
VERSION_MIN = (6, 2)
NEVER_EVICTS = "noeviction"
# What a connection, or what came over one, may raise; asyncio's own timeout is no RedisError.
REDIS_ERRORS = (RedisError, OSError, asyncio.TimeoutError, EOFError)
# What a server that does answer says of itself. From within a script its code stands in the message alone.
CODES: dict[type[Exception], str] = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", BusyLoadingError: "LOADING"}
CODE = re.compile(r"\b(OOM|READONLY|LOADING|BUSY)\b")
SAID = {
    "OOM": "is out of memory (maxmemory): it takes nothing more",
    "READONLY": "is a replica now, which cannot be written",
    "LOADING": "is loading its file",
    "BUSY": "is busy with another client's script",
}


class Server:
    """A Redis, and which run of it answers: after a restart it may have lost the last writes."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet. Raises ConfigError for a URL that names no Redis."""
        wrong = ConfigError("REDIS_URL: must be redis://HOST:PORT/DB, or rediss:// with TLS")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or DEFAULT_PORT
        except ValueError:
            raise wrong from None
        if parts.scheme not in SCHEMES or not host:
            raise wrong
        self.where = f"{host}:{port}"
        self.run_id = ""
        self._told: list[Callable[[], None]] = []
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                timeout=ANSWER_S,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
                max_connections=CONNECTIONS_MAX,
                retry=Retry(NoBackoff(), 0),
                redis_connect_func=self._connected,
                protocol=2,
            )
            self.client: Redis = Redis.from_pool(pool)
        except ValueError:
            raise wrong from None  # a text of redis's own may hold the password

    def on_restart(self, call: Callable[[], None]) -> None:
        """Have it called when another run of the server answers than before."""
        self._told.append(call)

    async def require_sound(self) -> None:
        """Raises ConfigError where it must not be used, BudgetStoreUnavailableError where it does not answer."""
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                info: dict[str, Any] = await self.client.info()
        except (AuthenticationError, NoPermissionError):
            raise ConfigError(f"REDIS_URL: {self.where} refuses the user or the password") from None
        except ResponseError as error:
            raise ConfigError(f"REDIS_URL: {self.where}: {error}") from None
        except REDIS_ERRORS as error:
            raise await self.failed(error) from None
        version = str(info.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < VERSION_MIN:
            needed = ".".join(map(str, VERSION_MIN))
            raise ConfigError(f"REDIS_URL: {self.where} is Redis {version}; {needed} or newer is needed")
        if info.get("role") not in (None, "master"):
            raise ConfigError(f"REDIS_URL: {self.where} is a replica, which cannot be written: name the primary")
        policy = info.get("maxmemory_policy")
        if policy not in (None, NEVER_EVICTS):
            raise ConfigError(
                f"REDIS_URL: {self.where} has maxmemory-policy {policy}, which may drop what is held and spent: "
                f"set it to {NEVER_EVICTS}"
            )

    async def failed(self, error: Exception) -> BudgetStoreUnavailableError:
        """The error that says what is wrong.

        Idle connections to a primary that became a replica are let go: the next one goes where the name leads now.
        """
        named = CODE.search(str(error)) if isinstance(error, ResponseError) else None
        code = CODES.get(type(error), named[0] if named is not None else "")
        if code == "READONLY":
            await self.client.connection_pool.disconnect(inuse_connections=False)
        said = SAID.get(code, f"does not answer: {type(error).__name__}")
        return BudgetStoreUnavailableError(f"Redis at {self.where} {said}")

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self.client.aclose()

    async def _connected(self, connection: Any) -> None:  # noqa: ANN401  # redis's own class has no stable place
        """A new connection: to the same run as before, else everybody hears of it before anything is sent."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        raw = await connection.read_response()
        text = raw.decode() if isinstance(raw, bytes) else str(raw)
        run_id = next((line[7:].strip() for line in text.splitlines() if line.startswith("run_id:")), "")
        if run_id == self.run_id:
            return
        is_first = not self.run_id
        self.run_id = run_id
        if not is_first:
            for call in self._told:
                call()
            # What was about to be sent was meant for the run before.
            raise RedisError("another run of the server answers")
