"""``python -m benchmarks COMMAND``: each command is a module of this package, named in the table below.

A command's module has ``add_arguments(parser)`` and ``run(arguments) -> int``, whose number is the exit code; its
docstring is the command's help. Only the module of the command that was asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys

COMMANDS = {
    "overhead": "what the gateway costs a request, beside LiteLLM's proxy and a bare ASGI proxy",
    "switches": "what budgets, guards and the ledger cost a request: everything on against parts of it off",
    "memory": "what a million requests do to the gateway's memory, and what the guards' tables take",
    "flame": "where a request's time goes: a flame graph of the gateway under load",
    "money": "headers, ledger, report and the simulated vendors' bill agree to the nano-dollar",
    "cap": "a hard budget under 200 concurrent requests, over each store, one and four gateways",
    "budgets": "a million interleavings of reserve, extend, settle, void and expire; what each store costs a request",
    "leak": "runaways and legitimate traffic replayed: dollars that each guard lets through",
    "retrieval": "40,000 tokens with every query: dollars a month as sent, routed, cached, trimmed",
    "crash": "a gateway killed under load loses and doubles nothing",
    "kills": "gateways, Redis and PostgreSQL killed under load: nothing missing, doubled or overspent",
    "live": "a live calibration killed and resumed asks nothing twice and keeps its dollar limit",
    "newcomer": "a workload of a new kind from an empty start: the promise before and after one command",
    "fuzz": "generated requests get no 5xx of our making",
}
EXIT_USAGE = 2


def available() -> dict[str, str]:
    """The commands of the table whose module is in this checkout, with what each shows."""
    return {name: shows for name, shows in COMMANDS.items() if importlib.util.find_spec(f"benchmarks.{name}")}


def overview(commands: dict[str, str]) -> argparse.ArgumentParser:
    """The parser of the first word alone."""
    width = max(map(len, commands))
    listed = "\n".join(f"  {name:<{width}}  {shows}" for name, shows in commands.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Benchmarks of Tollgate: each starts the real processes it needs and stops them.",
        epilog=f"commands:\n{listed}\n\n`python -m benchmarks COMMAND --help` lists a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=commands, metavar="COMMAND", help="one of the commands below")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = overview(available())
    if not words:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    name = parser.parse_args(words[:1]).command
    module = importlib.import_module(f"benchmarks.{name}")
    own = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(own)
    return int(module.run(own.parse_args(words[1:])))


if __name__ == "__main__":
    sys.exit(main())
