"""`python -m router.simulator`: the simulator in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from typing import TYPE_CHECKING

from router.simulator.server import DEFAULT_HOST, DEFAULT_PORTS, SimulatorUrls, run_simulator
from router.simulator.vendor import Behaviour

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; 2 when the address or the catalogue cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m router.simulator", description=__doc__)
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument(
        "--port-base", type=int, default=DEFAULT_PORTS[0], help="three ports from here; 0 for free ones"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0, help="scale of every wait: 1 life-like, 0 none")
    parser.add_argument("--stream-events", type=int, help="text events a stream, instead of the vendor's own size")
    parser.add_argument("--event-gap-ms", type=float, help="milliseconds between a stream's events")
    parser.add_argument("--answer-tokens", type=int, help="length of prose, instead of a drawn one")
    parser.add_argument("--catalogue", help="the price catalogue's file")
    parser.add_argument("--prices-override", default="{}", help="JSON: model -> {input, output} in USD per Mtok")
    parser.add_argument("--ready-json", action="store_true", help="print the addresses as one JSON line")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    given = parser.parse_args(arguments)
    if given.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    base = given.port_base
    behaviour = Behaviour(
        seed=given.seed,
        speed=given.speed,
        stream_events=given.stream_events,
        event_gap_ms=given.event_gap_ms,
        answer_tokens=given.answer_tokens,
    )
    try:
        run_simulator(
            given.host,
            (base, base + 1, base + 2) if base else (0, 0, 0),
            when_ready=_print_json if given.ready_json else _print_lines,
            catalogue_path=given.catalogue,
            prices_override=json.loads(given.prices_override),
            behaviour=behaviour,
        )
    except (OSError, ValueError) as wrong:
        sys.stderr.write(f"simulator: {wrong}\n")
        return 2
    return 0


def _print_json(urls: SimulatorUrls) -> None:
    _say(json.dumps({"anthropic": urls.anthropic, "gemini": urls.gemini, "openai": urls.openai}))


def _print_lines(urls: SimulatorUrls) -> None:
    _say(urls.lines())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent holds open as long as it lives."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
