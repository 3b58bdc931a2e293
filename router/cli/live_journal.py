"""The journal of a live calibration: what was asked and what came of it, each line on the disk before the next step.

A call has a line before it is made, with the most that it can cost, and one after, with what it did cost and the
answer. A call whose second line is missing was cut off: it is charged at its hold and never made again. One process at
a time writes a journal.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


@dataclass(frozen=True, slots=True)
class Done:
    """A call that ended: its cost, its text, None where it failed with ``error``, and how the text ended."""

    cost_nanousd: int
    text: str | None
    error: str | None = None
    finish_reason: str = "stop"


@dataclass(slots=True)
class Journal:
    """Calls by id. ``done`` ended; ``cut_off`` began and never ended, with their holds; ``held`` are under way."""

    path: Path
    done: dict[str, Done] = field(default_factory=dict)
    cut_off: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    _descriptor: int = -1

    def __enter__(self) -> Self:
        """Read what is there and take hold of it. Raises ConfigError, also where another process writes it."""
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raw = self.path.read_bytes()
        except BlockingIOError as error:
            self.close()
            raise ConfigError(f"{self.path}: another live calibration is writing it") from error
        except OSError as error:
            self.close()
            raise ConfigError(f"{self.path}: cannot be used: {error.strerror}") from error
        if raw and not raw.endswith(b"\n"):
            # The last line was cut off by the machine's end, before anything followed from it.
            self._append(b"\n")
        for line in raw.splitlines():
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                self._read(json.loads(line))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self, row: dict[str, Any]) -> None:
        call = str(row["call"])
        if "hold_nanousd" in row:
            if call not in self.done:
                self.cut_off[call] = int(row["hold_nanousd"])
            return
        text = row["text"]
        reason = str(row.get("finish_reason", "stop"))
        self.done[call] = Done(int(row["cost_nanousd"]), None if text is None else str(text), row.get("error"), reason)
        self.cut_off.pop(call, None)

    def knows(self, call: str) -> bool:
        """Whether the call was ever begun: then it is not made again."""
        return call in self.done or call in self.cut_off or call in self.held

    @property
    def spent_nanousd(self) -> int:
        """What all runs cost: ended calls at their cost, cut-off ones and those under way at their hold."""
        ended = sum(each.cost_nanousd for each in self.done.values())
        return ended + sum(self.cut_off.values()) + sum(self.held.values())

    def begin(self, call: str, hold_nanousd: int) -> None:
        """The call is about to be made. Raises ConfigError where that cannot be written: then it must not be."""
        self.held[call] = hold_nanousd
        self._write({"call": call, "hold_nanousd": hold_nanousd})

    def end(self, call: str, done: Done) -> None:
        """The call has ended. Raises ConfigError where that cannot be written."""
        self._write({"call": call, **asdict(done)})
        self.done[call] = done
        self.held.pop(call, None)

    def _write(self, row: dict[str, object]) -> None:
        self._append(json.dumps(row, separators=(",", ":")).encode() + b"\n")

    def _append(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}: nothing more is asked") from error
