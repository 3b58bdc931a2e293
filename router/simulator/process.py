"""The simulator in a child process, so that it never shares the gateway's loop. It ends with its parent."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Self

from router.simulator.server import SimulatorUrls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from router.simulator.catalogue import PriceOverride

READY_S_MAX = 30.0
STOP_S_MAX = 5.0


class SimulatorProcess:
    """`with SimulatorProcess(seed=1) as sim: ... sim.anthropic_url`.

    The child ends when its standard input closes, which the system does even when the parent is killed.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        speed: float = 1.0,
        host: str = "127.0.0.1",
        port_base: int = 0,
        catalogue_path: str | Path | None = None,
        prices_override: Mapping[str, PriceOverride] | None = None,
        stream_events: int | None = None,
        event_gap_ms: float | None = None,
        answer_tokens: int | None = None,
    ) -> None:
        """``port_base`` takes three ports from there, 0 free ones; the rest as for `Behaviour`."""
        self._command = [
            *(sys.executable, "-m", "router.simulator", "--with-parent", "--ready-json", "--host", host),
            *("--port-base", str(port_base), "--seed", str(seed), "--speed", str(speed)),
            *("--prices-override", json.dumps(dict(prices_override or {}), default=str)),
        ]
        options = {
            "--catalogue": catalogue_path,
            "--stream-events": stream_events,
            "--event-gap-ms": event_gap_ms,
            "--answer-tokens": answer_tokens,
        }
        for flag, value in options.items():
            if value is not None:
                self._command += [flag, str(value)]
        self._child: subprocess.Popen[bytes] | None = None
        self._urls: SimulatorUrls | None = None

    @property
    def urls(self) -> SimulatorUrls:
        """The three base URLs, once started."""
        assert self._urls is not None, "the simulator has not been started"
        return self._urls

    @property
    def anthropic_url(self) -> str:
        """Base URL of the Messages API, without `/v1`."""
        return self.urls.anthropic

    @property
    def gemini_url(self) -> str:
        """Base URL of the Gemini API, without `/v1beta`."""
        return self.urls.gemini

    @property
    def openai_url(self) -> str:
        """Base URL of the OpenAI-compatible host, with `/v1`."""
        return self.urls.openai

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child else None

    def start(self) -> SimulatorUrls:
        """Start the child and wait until it listens.

        Raises:
            OSError: when the child ends or says nothing within 30 s; with what it wrote.
        """
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        line = _first_line(self._child.stdout)
        if not line:
            self._child.kill()
            said = self._child.communicate()[1].decode("utf-8", "replace").strip()
            self._child = None
            raise OSError(f"the simulator did not start: {said or 'it said nothing'}")
        self._urls = SimulatorUrls(**json.loads(line))
        return self._urls

    def stop(self) -> None:
        """End the child; does nothing when it has ended."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.communicate(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
        self._child = None

    def __enter__(self) -> Self:
        """Start and wait until ready."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def _first_line(stream: IO[bytes]) -> bytes:
    """The first line, or nothing when the stream ends or stays silent too long."""
    deadline_s = time.monotonic() + READY_S_MAX
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline_s - time.monotonic())):
                return b""
            part = stream.readline() if hasattr(stream, "peek") else stream.read(1)
            if not part:
                return b""
            line += part
    return line
