"""Several gateways on one address: `tollgate serve --workers N`, where one core is not enough.

The parent starts the workers one after the other, starts anew what ends by itself, hands signals on, and answers
nothing. Each worker is a gateway of its own; what several gateways share (ledger, budgets, what guards saw) they share
as replicas do. Each has a listening socket of its own, which the parent keeps: a connection that comes while a worker
is started again waits for it. A worker ends with its parent: its standard input closes, which the system sees to even
when the parent is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import multiprocess

from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.errors import EXIT_CODE, ConfigError, RouterError
from router.listening import CAN_SPREAD, bind, bind_several
from router.telemetry import LOGGER_NAME, start_logging
from router.wiring import (
    CLOSING_GRACE_S,
    SHUTDOWN_GRACE_S,
    Place,
    load_salt,
    serve,
    vendors_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.config.settings import Settings

log = logging.getLogger(LOGGER_NAME)

# A worker that ended so soon after its start would end again: the next start waits, each time twice as long.
SHORT_LIFE_S = 10.0
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30.0
PATIENCE_S = 1.0
STOP_S = SHUTDOWN_GRACE_S + CLOSING_GRACE_S + 5.0
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class _EndedEarlyError(Exception):
    """A worker ended before it was ready; it has said why. ``code`` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Workers:
    """The workers of one address. ``banner`` is what the last of them that was ready had to say: all say the same."""

    settings: Settings
    sockets: list[socket.socket]
    metrics: Path
    urls: Mapping[str, str] | None
    banner: str = ""
    is_stopping: bool = False
    _alive: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    async def run(self) -> int:
        """Serve until a signal says stop; the exit code, a worker's own where one could not start at first."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for stopping in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stopping, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hand_on, signal.SIGHUP)
        keeping: list[asyncio.Task[None]] = []
        try:
            for number in range(len(self.sockets)):  # one after the other: the first makes what is missing
                process = await self._started(number)
                keeping.append(loop.create_task(self._keep(number, process)))
            print(self.banner, flush=True)  # noqa: T201  # the product's first words
            await stop.wait()
        except _EndedEarlyError as error:
            return error.code
        finally:
            self.is_stopping = True
            self._hand_on(signal.SIGTERM)
            await self._all_ended(keeping)
        return 0

    def _hand_on(self, number: signal.Signals) -> None:
        for process in self._alive.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _all_ended(self, keeping: list[asyncio.Task[None]]) -> None:
        """Wait for the workers; one that outlasts every grace is killed."""
        ends = [asyncio.ensure_future(each.wait()) for each in self._alive.values()]
        if ends:
            _, late = await asyncio.wait(ends, timeout=STOP_S)
            if late:
                self._hand_on(signal.SIGKILL)
        for task in keeping:
            task.cancel()
        await asyncio.gather(*ends, *keeping, return_exceptions=True)

    async def _started(self, number: int) -> asyncio.subprocess.Process:
        """A worker that is ready. Raises _EndedEarlyError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "router.workers"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self.sockets[number].fileno(),),
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which hands it on
            env={**self.settings.env, METRICS_VARIABLE: str(self.metrics)},
        )
        self._alive[number] = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(self._told_to(number)).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()
        line = await process.stdout.readline()
        if not line:
            raise _EndedEarlyError(await process.wait())
        self.banner = json.loads(line)
        return process

    def _told_to(self, number: int) -> dict[str, object]:
        settings = self.settings
        return {
            "socket": self.sockets[number].fileno(),
            "urls": None if self.urls is None else dict(self.urls),
            "metrics": str(self.metrics),
            "host": settings.host,
            "port": settings.port,
            "policy": str(settings.policy_path),
            "home": str(settings.home),
        }

    async def _keep(self, number: int, process: asyncio.subprocess.Process) -> None:
        """Start the worker anew whenever it ends by itself."""
        clock, pause_s = asyncio.get_running_loop().time, PAUSE_FIRST_S
        since_s = clock()
        while True:
            code = await process.wait()
            multiprocess.mark_process_dead(process.pid, str(self.metrics))  # type: ignore[no-untyped-call]
            if self.is_stopping:
                return
            pause_s = min(2 * pause_s, PAUSE_MAX_S) if clock() - since_s < SHORT_LIFE_S else PAUSE_FIRST_S
            log.warning("worker ended", extra={"fields": {"worker": number, "exit_code": code, "pause_s": pause_s}})
            await self._pause(number, pause_s)
            since_s = clock()
            with contextlib.suppress(_EndedEarlyError, OSError):  # of which the second is a system that has no room
                await self._started(number)
                log.warning("worker started again", extra={"fields": {"worker": number}})
            process = self._alive[number]

    async def _pause(self, number: int, pause_s: float) -> None:
        """Wait; so long that nobody should wait with it, new connections go to the other workers meanwhile."""
        if pause_s <= PATIENCE_S or not CAN_SPREAD:
            await asyncio.sleep(pause_s)
            return
        host, port, *_ = self.sockets[number].getsockname()
        self.sockets[number].close()
        while True:
            await asyncio.sleep(pause_s)
            try:
                self.sockets[number] = bind(host, port, is_spread=True)
            except ConfigError as error:
                log.warning("worker cannot listen", extra={"fields": {"worker": number, "reason": error.message}})
            else:
                return


def serve_with(settings: Settings) -> int:
    """Run as many gateways as the settings say until told to stop; returns the exit code. Raises ConfigError."""
    if settings.ledger_url.startswith("memory:"):
        raise ConfigError(
            "TOLLGATE_LEDGER_URL: a ledger in memory belongs to one process, and there are to be several workers"
        )
    sockets = bind_several(settings.host, settings.port, settings.workers)
    listener = start_logging(settings.log_level)
    try:
        load_salt(settings.home)
        policy = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
        with _metrics_folder() as metrics, vendors_of(policy, settings) as urls:
            return asyncio.run(Workers(settings, sockets, Path(metrics), urls).run())
    finally:
        for sock in sockets:
            sock.close()
        listener.stop()


def _metrics_folder() -> tempfile.TemporaryDirectory[str]:
    """Where all workers count, gone with the parent."""
    try:
        return tempfile.TemporaryDirectory(prefix="tollgate-metrics-")
    except OSError as error:
        raise ConfigError(f"workers need a folder for their metrics: {error}; set TMPDIR to one") from error


def work() -> None:
    """One worker, as its parent's first line says."""
    told = json.loads(sys.stdin.buffer.readline())
    settings = load_settings(host=told["host"], port=told["port"], policy=told["policy"], home=told["home"])

    def ready(banner: str) -> None:
        sys.stdout.write(json.dumps(banner) + "\n")
        sys.stdout.flush()

    threading.Thread(target=_end_with_parent, name="tollgate-parent", daemon=True).start()
    serve(settings, Place(socket.socket(fileno=told["socket"]), told["urls"], Path(told["metrics"]), ready))


def _end_with_parent() -> None:
    # Past Python's own buffer, whose lock a thread that waits here would hold when the process ends by itself.
    while os.read(sys.stdin.fileno(), 4096):
        pass  # the parent has no more to say: it lets go of the other end when it ends
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """``python -m router.workers``: a worker; an error of ours is its message on standard error and exit code 3."""
    try:
        work()
    except RouterError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  # what the parent's caller reads
        sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
