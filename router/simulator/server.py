"""Runs the three simulated vendors, each on its own port."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from aiohttp import web

from router.simulator.anthropic_wire import AnthropicWire
from router.simulator.catalogue import load_catalogue
from router.simulator.gemini_wire import GeminiWire
from router.simulator.openai_wire import OpenAIWire
from router.simulator.vendor import Behaviour, Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from router.simulator.catalogue import PriceOverride

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORTS = (8101, 8102, 8103)


@dataclass(frozen=True, slots=True)
class SimulatorUrls:
    """What each vendor's own SDK calls its base URL: with `/v1` only for the OpenAI-compatible host."""

    anthropic: str
    gemini: str
    openai: str

    def host(self, name: str) -> str:
        """Base URL of one named host of open models (`deepinfra`, `groq`, ..), which bills at its own prices."""
        return f"{self.openai.removesuffix('/v1')}/{name}/v1"

    def lines(self) -> str:
        """One line a vendor, for a banner."""
        return f"anthropic {self.anthropic}\ngemini    {self.gemini}\nopenai    {self.openai}"


class Simulator:
    """Three vendors in this process and on this loop: `async with Simulator(seed=1) as sim: ... sim.anthropic_url`."""

    def __init__(
        self,
        *,
        seed: int = 0,
        catalogue_path: str | Path | None = None,
        speed: float = 0.0,
        host: str = DEFAULT_HOST,
        ports: tuple[int, int, int] = (0, 0, 0),
        prices_override: Mapping[str, PriceOverride] | None = None,
        behaviour: Behaviour | None = None,
    ) -> None:
        """Ports in the order Anthropic, Gemini, OpenAI-compatible; 0 takes a free one.

        ``prices_override`` gives contract prices in USD per million tokens, `{model: {"input": .., "output": ..}}`,
        also to models that the catalogue does not know. ``behaviour`` replaces seed and speed by the full set.

        Raises:
            OSError, ValueError: when the catalogue cannot be read.
        """
        catalogue = load_catalogue(catalogue_path, prices_override)
        chosen = behaviour or Behaviour(seed=seed, speed=speed)
        wires = (AnthropicWire(), GeminiWire(), OpenAIWire())
        self.anthropic, self.gemini, self.openai = (Vendor(wire, catalogue, chosen) for wire in wires)
        self._host = host
        self._ports = ports
        self._runners: list[web.AppRunner] = []
        self._addresses: list[str] = []

    @property
    def vendors(self) -> tuple[Vendor, Vendor, Vendor]:
        """Anthropic, Gemini, the OpenAI-compatible host: each with its `bill` and `faults`."""
        return self.anthropic, self.gemini, self.openai

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
    def urls(self) -> SimulatorUrls:
        """The three base URLs."""
        anthropic, gemini, openai = self._addresses
        return SimulatorUrls(anthropic, gemini, f"{openai}/v1")

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: when a port is taken.
        """
        try:
            for vendor, port in zip(self.vendors, self._ports, strict=True):
                runner = web.AppRunner(
                    vendor.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.2
                )
                self._runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, self._host, port).start()
                shown = f"[{self._host}]" if ":" in self._host else self._host
                self._addresses.append(f"http://{shown}:{runner.addresses[0][1]}")
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and drop what is open."""
        await self._close()

    async def _close(self) -> None:
        while self._runners:
            await self._runners.pop().cleanup()
        self._addresses.clear()


async def serve_simulator(
    host: str = DEFAULT_HOST,
    ports: tuple[int, int, int] = DEFAULT_PORTS,
    *,
    when_ready: Callable[[SimulatorUrls], None] | None = None,
    stop: asyncio.Event | None = None,
    seed: int = 0,
    speed: float = 1.0,
    catalogue_path: str | Path | None = None,
    prices_override: Mapping[str, PriceOverride] | None = None,
    behaviour: Behaviour | None = None,
) -> None:
    """Serve until ``stop`` is set (or for ever), telling ``when_ready`` the addresses.

    Raises:
        OSError: when a port is taken or the catalogue cannot be read.
        ValueError: when the catalogue is not one.
    """
    simulator = Simulator(
        seed=seed,
        catalogue_path=catalogue_path,
        speed=speed,
        host=host,
        ports=ports,
        prices_override=prices_override,
        behaviour=behaviour,
    )
    async with simulator:
        if when_ready is not None:
            when_ready(simulator.urls)
        await (stop or asyncio.Event()).wait()


def run_simulator(
    host: str = DEFAULT_HOST,
    ports: tuple[int, int, int] = DEFAULT_PORTS,
    *,
    when_ready: Callable[[SimulatorUrls], None] | None = None,
    seed: int = 0,
    speed: float = 1.0,
    catalogue_path: str | Path | None = None,
    prices_override: Mapping[str, PriceOverride] | None = None,
    behaviour: Behaviour | None = None,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM.

    Raises:
        OSError: when a port is taken or the catalogue cannot be read.
        ValueError: when the catalogue is not one.
    """

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # platforms without signal handlers end by KeyboardInterrupt
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
        await serve_simulator(
            host,
            ports,
            when_ready=when_ready,
            stop=stop,
            seed=seed,
            speed=speed,
            catalogue_path=catalogue_path,
            prices_override=prices_override,
            behaviour=behaviour,
        )

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
