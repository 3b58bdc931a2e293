"""Processes under measurement: started on a core of their own, asked what they have used, stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 20.0
POLL_S = 0.005
# After the command's name, in parentheses, of /proc/<pid>/stat: proc(5).
PARENT_FIELD, USER_FIELD, SYSTEM_FIELD = 1, 11, 12
IDLE_FIELDS = (3, 4)


class BenchmarkError(Exception):
    """A run that cannot count: something did not start, or answered wrongly."""


def can_pin() -> bool:
    """Whether this machine lets a process be held on a core, and has a second one for the load."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Hold this thread, and what it starts, on one core; ``None`` leaves everything as it is."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _stat_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def family_of(pid: int) -> list[int]:
    """The process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat_of(int(entry.name))[PARENT_FIELD]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def core_busy_s(core: int) -> float:
    """Seconds that the core has not been idle since the machine started, whoever used it."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            return sum(int(ticks) for index, ticks in enumerate(numbers[:8]) if index not in IDLE_FIELDS) / TICKS_PER_S
    raise BenchmarkError(f"/proc/stat has no cpu{core}")


@dataclass
class Process:
    """A started process; its output is in ``log``."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    started_s: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], *, core: int | None, folder: Path, env: Mapping[str, str], cwd: Path
    ) -> Process:
        """Start a command on a core with its output in ``folder``."""
        log = folder / f"{name}.log"
        with log.open("wb") as out, on_core(core):
            started_s = time.monotonic()
            popen = subprocess.Popen(list(command), stdout=out, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd)
        return cls(name, popen, log, started_s)

    def cpu_s(self) -> float:
        """Seconds of user and system time of the process and its descendants."""
        ticks = 0
        for pid in family_of(self.popen.pid):
            with contextlib.suppress(OSError):
                stat = _stat_of(pid)
                ticks += int(stat[USER_FIELD]) + int(stat[SYSTEM_FIELD])
        return ticks / TICKS_PER_S

    def rss_mb(self) -> float:
        """Resident megabytes (10^6 bytes) of the process and its descendants."""
        total_kib = 0
        for pid in family_of(self.popen.pid):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                    if line.startswith("VmRSS:"):
                        total_kib += int(line.split()[1])
        return total_kib * 1024 / 1e6

    def wait_ready(self, url: str, timeout_s: float) -> float:
        """Seconds from the start until ``GET url`` answers 200. Raises BenchmarkError with the log's end."""
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        request = f"GET {address.path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode()
        while time.monotonic() < self.started_s + timeout_s:
            if self.popen.poll() is not None:
                raise BenchmarkError(f"{self.name} ended with {self.popen.returncode}:\n{self.last_words()}")
            with (
                contextlib.suppress(OSError),
                socket.create_connection((address.hostname, address.port), timeout=5) as sock,
            ):
                sock.sendall(request)
                if sock.recv(64).split(b" ")[1:2] == [b"200"]:
                    return time.monotonic() - self.started_s
            time.sleep(POLL_S)
        raise BenchmarkError(f"{self.name} was not ready after {timeout_s:g} s:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3_000:]

    def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        self.popen.terminate()
        try:
            self.popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
