"""How often a client waits for its server: a socket in between that counts whenever the client speaks again."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

CHUNK = 65536
SOCKET_NAME = ".s.PGSQL.5432"


class Turns:
    """Listens on a socket named like PostgreSQL's in a ``folder`` of its own, and hands everything on to ``target``.

    ``count`` is the number of round trips so far: what a client sends without waiting for an answer is one.
    """

    def __init__(self, target: Path) -> None:
        self.count = 0
        self._target = target
        self._own = tempfile.TemporaryDirectory(prefix="tollgate-turns-")
        self.folder = Path(self._own.name)
        self.path = self.folder / SOCKET_NAME
        self._loop = asyncio.new_event_loop()
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._done: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_listening.wait(10), "the socket did not open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._done is not None
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        self._loop.close()
        self._own.cleanup()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        server = await asyncio.start_unix_server(self._pass_on, self.path)
        self._is_listening.set()
        await self._done.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_unix_connection(self._target)
        has_answered = [True]

        async def forth() -> None:
            while data := await reader.read(CHUNK):
                self.count += has_answered[0]
                has_answered[0] = False
                asks.write(data)
            asks.close()

        async def back() -> None:
            while data := await answers.read(CHUNK):
                has_answered[0] = True
                writer.write(data)
            writer.close()

        with suppress(ConnectionError):
            await asyncio.gather(forth(), back())
