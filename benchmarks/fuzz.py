"""Fuzz: generated requests against a live gateway get no 5xx of its making, and every error is in the contract's shape.

Half of the requests are drawn by schemathesis from the gateway's own `/openapi.json`, sound ones and unsound ones; the
other half are sound chat requests mutated by hypothesis in values, text, headers, methods and paths. No vendor fault is
ordered, so every 5xx is ours. Afterwards the process lives, `tollgate ledger verify` finds nothing, and neither log nor
ledger holds a prompt or a key. Exit code 1 on any finding; each is kept with the seed and the request that gave it.
"""

from __future__ import annotations

import base64
import http.client
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from rich.console import Console
from rich.table import Table
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.fuzz_checks import KEY_CANARY, PROMPT_CANARY, problems_of
from benchmarks.fuzz_requests import RawRequest, raw_requests
from benchmarks.record import write_result
from benchmarks.stack import GatewayProcess, bill_of, simulated_policy
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

# Whether generated data should have been refused is for the document's own tests; here it is how it is answered.
CHECKS: list[Any] = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
CHAT_WEIGHT = 4
FAILURES_KEPT = 50
BATCH = 500
WARM_SHARE = 0.1
TIMEOUT_S = 45


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)


@dataclass
class Tally:
    """What the responses were."""

    url: str
    seed: int
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, object]] = field(default_factory=list)
    vendor_refusals: list[dict[str, object]] = field(default_factory=list)
    rss_mib: list[tuple[int, float]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many requests were answered so far."""
        return sum(self.sources.values())

    def note(
        self, source: str, request: RawRequest, status: int, content_type: str, body: bytes, more: list[str]
    ) -> None:
        """Count one response and keep the request of one that is wrong."""
        # schemathesis reads a stream's first events and lets go of the rest.
        found, code = problems_of(request.method, status, content_type, body, is_whole=source != "document")
        self.sources[source] += 1
        self.statuses[str(status)] += 1
        self.codes[f"{status} {code}"] += 1
        kept = {
            "source": source,
            "seed": self.seed,
            "number": self.count,
            "problems": found + more,
            "status": status,
            "method": request.method,
            "path": request.path[:300],
            "headers": [list(header) for header in request.headers],
            "body_base64": base64.b64encode(request.body[:4_000]).decode(),
            "answer": body[:600].decode("utf-8", "replace"),
        }
        if found + more:
            self.failures.append(kept)
        elif code.startswith("provider"):
            self.vendor_refusals.append(kept)


def run(arguments: argparse.Namespace) -> int:
    """Run, print, write the result file."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-fuzz-")))
        simulator = stack.enter_context(SimulatorProcess(seed=arguments.seed, speed=0))
        gateway = GatewayProcess(folder / "home", simulated_policy(simulator.urls))
        gateway.start()
        try:
            figures = fuzzed(gateway, simulator, count=arguments.requests, number=arguments.seed)
        finally:
            if gateway.is_alive():
                gateway.stop()
    print_result(figures)
    print(f"result written to {write_result('fuzz', sys.argv[1:] or ['fuzz'], figures)}")
    return 0 if figures["ok"] else 1


def fuzzed(gateway: GatewayProcess, simulator: SimulatorProcess, *, count: int, number: int) -> dict[str, Any]:
    """Send ``count`` generated requests; the figures, and ``ok``."""
    tally = Tally(gateway.url, number)
    started_s = time.monotonic()

    def sample() -> None:
        print(f"{tally.count} of {count} requests, {len(tally.failures)} failures", file=sys.stderr)
        tally.rss_mib.append((tally.count, round(gateway.rss_mib(), 1)))

    sample()
    from_document(tally, count // 2, sample)
    batch = 0
    while tally.count < count and gateway.is_alive():
        batch += 1
        from_mutations(tally, min(BATCH, count - tally.count), number * 1_000 + batch)
        sample()
    return {**_after(gateway, simulator, tally), "seconds": round(time.monotonic() - started_s, 1)}


def _settings(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def from_document(tally: Tally, count: int, sample: Callable[[], None]) -> None:
    """Requests that schemathesis draws from the document, sound and unsound by turns, chat's the most."""
    schema = schemathesis.openapi.from_url(f"{tally.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    weights = {each.label: CHAT_WEIGHT if each.method == "post" else 1 for each in operations}
    total = sum(weights.values()) * 2
    with requests.Session() as session:
        for at, operation in enumerate(operations):
            for mode in GenerationMode:
                share = max(1, count * weights[operation.label] // total)
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    _draw_cases(tally, session, strategy, share, tally.seed * 100 + at)
                except (Unsatisfiable, schemathesis.errors.SchemathesisError):
                    continue  # an operation without parameters has no unsound request
                sample()


def _draw_cases(tally: Tally, session: requests.Session, strategy: Any, count: int, number: int) -> None:  # noqa: ANN401
    @seed(number)
    @_settings(count)
    @given(case=strategy)
    def one(case: Any) -> None:  # noqa: ANN401 - schemathesis' case
        response = case.call(base_url=tally.url, session=session, timeout=TIMEOUT_S)
        more: list[str] = []
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            more = [f"{type(each).__name__}: {str(each)[:300]}" for each in group.exceptions]
        except Failure as failure:
            more = [f"{type(failure).__name__}: {str(failure)[:300]}"]
        sent = response.request
        body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
        path = (sent.url or "").removeprefix(tally.url)
        headers = tuple((str(name), str(value)) for name, value in sent.headers.items())
        request = RawRequest(sent.method or "", path, headers, body)
        content_type = ",".join(response.headers.get("content-type") or [])
        tally.note("document", request, response.status_code, content_type, response.content, more)

    one()


def from_mutations(tally: Tally, count: int, number: int) -> None:
    """Mutated chat requests over one connection after the other."""
    wire = Wire(tally.url)

    @seed(number)
    @_settings(count)
    @given(request=raw_requests())
    def one(request: RawRequest) -> None:
        try:
            status, content_type, body = wire.send(request)
        except (OSError, http.client.HTTPException) as error:
            tally.note("mutation", request, 0, "", b"", [f"no answer: {type(error).__name__}"])
            return
        tally.note("mutation", request, status, content_type, body, [])

    try:
        one()
    finally:
        wire.close()


class Wire:
    """One kept connection that sends exactly what it is told to."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")
        self._connection: http.client.HTTPConnection | None = None

    def send(self, request: RawRequest) -> tuple[int, str, bytes]:
        """Status, content type and body. Raises OSError or HTTPException when there is no answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        connection = self._connection
        try:
            connection.putrequest(request.method, request.path, skip_accept_encoding=True)
            for name, value in request.headers:
                connection.putheader(name, value.encode("latin-1"))
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            answer = connection.getresponse()
            found = answer.status, answer.headers.get("content-type", ""), answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if answer.will_close:
            self.close()
        return found

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _after(gateway: GatewayProcess, simulator: SimulatorProcess, tally: Tally) -> dict[str, Any]:
    is_alive = gateway.is_alive()
    if is_alive:
        gateway.stop()
    verified = gateway.command("ledger", "verify", "--json")
    kept = {path.name: path.read_bytes() for path in gateway.home.iterdir() if path.is_file()}
    leaks = [name for name, data in kept.items() for leak in (PROMPT_CANARY, KEY_CANARY) if leak.encode() in data]
    errors = kept[gateway.log.name].count(b"internal error")
    warm = [rss for at, rss in tally.rss_mib if at >= tally.count * WARM_SHARE]
    return {
        "ok": is_alive and not (tally.failures or verified.returncode or leaks or errors),
        "requests": tally.count,
        "sources": dict(tally.sources),
        "statuses": dict(sorted(tally.statuses.items())),
        "codes": dict(sorted(tally.codes.items())),
        "vendor_calls_billed": len(bill_of(simulator)),
        "failures": len(tally.failures),
        "failures_kept": tally.failures[:FAILURES_KEPT],
        "vendor_refusals": tally.vendor_refusals[:FAILURES_KEPT],
        "is_alive": is_alive,
        "verify_exit": verified.returncode,
        "leaks_in_files": leaks,
        "internal_errors_logged": errors,
        "memory_mib": {"start": tally.rss_mib[0][1], "warm": warm[0], "end": warm[-1], "highest": max(warm)},
    }


def print_result(figures: dict[str, Any]) -> None:
    """Counts by status and code, then the verdict."""
    console = Console(width=140, highlight=False)
    table = Table("answer", "requests", title="generated requests by status and code", title_justify="left")
    for code, count in figures["codes"].items():
        table.add_row(code, str(count))
    console.print(table)
    names = ("requests", "sources", "statuses", "vendor_calls_billed", "seconds", "is_alive", "verify_exit")
    for name in (*names, "leaks_in_files", "internal_errors_logged", "memory_mib", "failures"):
        console.print(f"{name.replace('_', ' ')}: {figures[name]}")
    for failure in figures["failures_kept"][:10]:
        console.print(f"FAILURE {failure['method']} {failure['path'][:80]} {failure['status']}: {failure['problems']}")
