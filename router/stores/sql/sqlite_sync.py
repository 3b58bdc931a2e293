"""The write-ahead log forced to the disk, by one thread for all who wait, and moved into the file in quiet times.

Whoever asks while a sync is under way is served by the next one, together with all others who asked meanwhile. The log
is opened by itself, which is safe: SQLite's locks are on the database and its shared memory, so closing this
descriptor drops none of them.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from router.errors import LedgerUnavailableError

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

if sys.platform == "darwin":  # only there fsync stops at the drive's own cache
    from fcntl import F_FULLFSYNC, fcntl

    def force(descriptor: int) -> None:
        """Return when the file is on the disk. Raises OSError."""
        fcntl(descriptor, F_FULLFSYNC)
else:

    def force(descriptor: int) -> None:
        """Return when the file is on the disk. Raises OSError."""
        os.fsync(descriptor)


# Between two syncs that nobody waits for yet, since the vendors are at work: what is committed meanwhile rides along.
# After a rest as long as this the next begins at once, so that under light load nobody waits for it afterwards.
GATHER_S = 0.001
# After so long without a line the log is moved into the main file, which somebody may copy without it.
IDLE_S = 1.0


class LogSync:
    """Knows how much is committed and how much of that is on the disk, both as the writer's entry numbers."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._committed = 0
        self._wanted = 0
        self._tried = 0
        self._synced = 0
        # What is in the main file; whatever a process before left in the log is not.
        self._moved = -1
        self._is_closing = False
        self._rested_s = 0.0
        self._log = -1
        self._thread = threading.Thread(target=self._run, name="tollgate-ledger-sync", daemon=True)
        self._thread.start()

    async def wait_for(self, number: int) -> None:
        """Wait until the entry with this number is on the disk. Raises LedgerUnavailableError."""
        if number <= self._synced:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        with self._changed:
            self._waiting.append((number, future))
            # What is on its way to the disk needs no second call; what failed there does.
            if not self._tried < number <= self._wanted:
                self._changed.notify()
        await future

    def committed(self, number: int, *, must_force: bool) -> None:
        """Entries up to this one are in the log; with ``must_force`` somebody will ask for them, so begin now."""
        with self._changed:
            was_moved = self._moved == self._committed
            self._committed = number
            if must_force:
                self._wanted = number
            if must_force or self._waiting or was_moved:
                self._changed.notify()

    def fail(self, why: str) -> None:
        """The writer cannot write: nobody may go on waiting for a disk that will not hear of it."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
        self._resolve(waiting, why)

    def close(self) -> None:
        """Sync what is committed, and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()
        if self._log >= 0:
            os.close(self._log)

    def _run(self) -> None:
        while True:
            is_asked = self._wait_for_work()
            pause_s = self._rested_s + GATHER_S - time.monotonic()
            if not is_asked and pause_s > 0:
                time.sleep(pause_s)
            with self._changed:
                number = self._committed
                is_closing = self._is_closing
            why = None
            if number > self._synced:
                try:
                    self._force_log()
                except OSError as error:
                    why = f"the disk does not take the ledger: {error.strerror}"
                else:
                    self._synced = number
            self._tried = number
            self._rested_s = time.monotonic()
            with self._changed:
                ready = [each for each in self._waiting if each[0] <= number]
                self._waiting = [each for each in self._waiting if each[0] > number]
            self._resolve(ready, why)
            if is_closing:
                self._resolve(self._waiting, "the ledger is closed")
                self._move_log()
                return

    def _wait_for_work(self) -> bool:
        """Wait for something to sync, and move the log meanwhile where nothing comes; whether somebody waits for it."""
        while True:
            with self._changed:
                number = self._committed
                is_moved = self._moved == number
                # The first line after a quiet time wakes, so that the next quiet time is noticed.
                self._changed.wait_for(partial(self._is_stirred, number), None if is_moved else IDLE_S)
                if self._has_work():
                    return bool(self._waiting) or self._is_closing
                is_quiet = not is_moved and self._committed == number
            if is_quiet and self._move_log():
                self._moved = number

    def _is_stirred(self, number: int) -> bool:
        return self._has_work() or self._moved == number != self._committed

    def _move_log(self) -> bool:
        """Move what the log holds into the main file, as far as no reader needs it there; whether that was all.

        By a connection of its own, which holds up no writer. What fails is tried again by SQLite as the log grows.
        """
        try:
            with closing(sqlite3.connect(f"file:{quote(str(self._path))}?mode=rw", uri=True, timeout=0)) as connection:
                _, in_log, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return True
        return bool(in_log == moved)

    def _has_work(self) -> bool:
        if self._is_closing or self._wanted > self._tried:
            return True
        return any(number <= self._committed for number, _ in self._waiting)

    def _force_log(self) -> None:
        if self._log < 0 or os.fstat(self._log).st_nlink == 0:
            if self._log >= 0:
                os.close(self._log)
            self._log = os.open(f"{self._path}-wal", os.O_RDWR)
            # The log's own name must outlive a power cut too.
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        force(self._log)

    def _resolve(self, waiting: list[tuple[int, asyncio.Future[None]]], why: str | None) -> None:
        if waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_wake, waiting, why)


def _wake(waiting: list[tuple[int, asyncio.Future[None]]], why: str | None) -> None:
    for _, future in waiting:
        if future.done():
            continue
        if why is None:
            future.set_result(None)
        else:
            future.set_exception(LedgerUnavailableError(why))
