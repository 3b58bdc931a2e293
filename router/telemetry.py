"""What operators see of a request: one structured line, counters, histograms. Never a prompt, an answer or a key.

Labels are bounded: models, vendors, tiers and codes come from the policy and from this program, never from callers.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import queue
import sys
import threading
import time
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from router.budgets import is_aside
from router.clock import iso_of
from router.guards import trip_fields
from router.money import usd_of

if TYPE_CHECKING:
    from pathlib import Path

    from router.ledger import GuardTrip, Intent, Rejection, Settlement, Subject

LOGGER_NAME = "tollgate"
LATENCY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)
NANO = 1_000_000_000
GATHER_S = 0.05
# Of several processes, the worst that one of those alive has to say.
LIVE_MAX: Final = "livemax"


class JsonLines(logging.Formatter):
    """Each record as one JSON object: time, level, event, and the fields that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; a traceback is a field of its own."""
        line: dict[str, object] = {
            "time": iso_of(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update(fields)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def start_logging(level: str = "INFO") -> logging.handlers.QueueListener:
    """Log to stderr through a queue, so that a slow terminal never holds up a request. Stop the listener at the end."""
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(JsonLines())
    lines = GatheringQueue()
    logger = logging.getLogger(LOGGER_NAME)
    logger.handlers = [_AsIs(lines)]
    logger.setLevel(level)
    logger.propagate = False
    # No line shows them, and asking the system for each costs more than the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    listener = logging.handlers.QueueListener(lines, sink)
    listener.start()
    return listener


class GatheringQueue:
    """A queue for one reader, who is woken at most once in ``GATHER_S``: each waking interrupts a request.

    It has what the standard library's queue handler and listener ask of a queue.
    """

    def __init__(self) -> None:
        self._records: deque[Any] = deque()
        self._has_some = threading.Event()

    def put_nowait(self, record: Any) -> None:  # noqa: ANN401  # a record, or the listener's own end mark
        """Add at the end; any thread may."""
        self._records.append(record)
        if not self._has_some.is_set():
            self._has_some.set()

    def get(self, block: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002  # the listener's call
        """Take the first. Raises queue.Empty where there is none and ``block`` is false."""
        while True:
            with contextlib.suppress(IndexError):
                return self._records.popleft()
            if not block:
                raise queue.Empty
            self._has_some.wait()
            time.sleep(GATHER_S)
            # Cleared before looking again: what is added from here on sets it anew.
            self._has_some.clear()


class _AsIs(logging.handlers.QueueHandler):
    """Hands the record over unformatted: formatting is the listener's work, and it stays in this process."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def request_fields_of(
    subject: Subject, intent: Intent | None, settlement: Settlement | None, cost_nanousd: int
) -> dict[str, object]:
    """The one line of a request: ids, names, tokens, money and milliseconds."""
    fields: dict[str, object] = {
        "decision_id": subject.decision_id,
        "surface": subject.surface,
        "team": subject.team,
        "project": subject.project,
        "key_id": subject.key_id,
        "quality_tier": subject.quality_tier,
        "tolerance": subject.tolerance,
        "reason": subject.reason,
        "cost_usd": usd_of(cost_nanousd),
    }
    if intent is not None and settlement is not None:
        premium, tokens = settlement.premium_cost, settlement.tokens
        fields |= {
            "model": intent.model,
            "vendor": intent.vendor,
            "outcome": settlement.outcome,
            "budgets": list(dict.fromkeys(each.split("/", 1)[0] for each in intent.accounts if not is_aside(each))),
            "error_code": settlement.error_code,
            "attempts": intent.attempt,
            "is_streamed": subject.is_streamed,
            "input_tokens": tokens.input_tokens if tokens is not None else None,
            "output_tokens": tokens.output_tokens if tokens is not None else None,
            "usage_source": settlement.usage_source,
            "premium_cost_usd": usd_of(premium.point_nanousd) if premium is not None else None,
            "latency_ms": settlement.latency_ms,
            "first_byte_ms": settlement.first_byte_ms,
        }
    return fields


class BudgetMetrics:
    """Counts what budgets did; a treasury's observer. Names with a colon are those of keys: they count together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.denials = Counter(
            "tollgate_budget_denials_total",
            "Times that a hard budget had no room for a call.",
            ("budget",),
            registry=registry,
        )
        self.overs = Counter(
            "tollgate_budget_over_total",
            "Calls that took a soft budget past its limit.",
            ("budget",),
            registry=registry,
        )
        self.unclosed = Counter(
            "tollgate_budget_unclosed_total",
            "Settlements that the budget store could not be told in time: leases close them in full.",
            registry=registry,
        )

        self.away = Gauge(
            "tollgate_budget_store_away",
            "1 while the store of budgets does not answer, or has lost its memory.",
            multiprocess_mode=LIVE_MAX,
            registry=registry,
        )
        self.allowed = Counter(
            "tollgate_budget_allowed_usd_total",
            "Worst cases of calls that passed without the store, as the policy allows, in USD (approximate).",
            registry=registry,
        )

        self.holds = Counter(
            "tollgate_budget_holds_total",
            "Calls that budgets held: by a lease that the gateway had, or by the store.",
            ("by",),
            registry=registry,
        )
        self._of_hold = cache(self.holds.labels)
        self.leased = Gauge(
            "tollgate_budget_leased_usd",
            "What gateways have leased and no call has taken, in USD (approximate).",
            multiprocess_mode="livesum",
            registry=registry,
        )

    def budget_held(self, *, is_leased: bool) -> None:
        """Count a hold by where it came from."""
        self._of_hold("lease" if is_leased else "store").inc()

    def budget_leased(self, nanousd: int) -> None:
        """Show what is leased and not in use."""
        self.leased.set(nanousd / NANO)

    def budget_store_away(self, *, is_away: bool) -> None:
        """Show whether the store answers."""
        self.away.set(is_away)

    def budget_allowed(self, nanousd: int) -> None:
        """Count what passed without the store."""
        self.allowed.inc(nanousd / NANO)

    def budget_denied(self, budget: str) -> None:
        """Count a call that money was short for."""
        self.denials.labels(budget.partition(":")[0]).inc()

    def budget_over(self, budget: str) -> None:
        """Count a call beyond a soft budget."""
        self.overs.labels(budget.partition(":")[0]).inc()

    def budget_unclosed(self) -> None:
        """Count a settlement that found no room."""
        self.unclosed.inc()


class GuardMetrics:
    """Counts what guards did."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.trips = Counter(
            "tollgate_guard_trips_total",
            "Times that a scope went up or down a guard's ladder, or an operator moved it.",
            ("guard", "action"),
            registry=registry,
        )
        self.leaked = Counter(
            "tollgate_guard_leaked_usd_total",
            "What scopes had spent past a guard's limit as they were throttled or stopped, in USD (approximate).",
            ("guard",),
            registry=registry,
        )

        self.webhooks = Counter(
            "tollgate_webhooks_total",
            "Trips that were to be told to the policy's webhook: delivered, failed or dropped.",
            ("outcome",),
            registry=registry,
        )

    def webhook_told(self, outcome: str) -> None:
        """Count what became of a trip that was to be told."""
        self.webhooks.labels(outcome).inc()

    def tripped(self, trip: GuardTrip) -> None:
        """Count the trip, and write its line: who, which rule, which counts, how much."""
        self.trips.labels(trip.guard, trip.action).inc()
        if trip.action in ("throttle", "stop"):
            self.leaked.labels(trip.guard).inc(trip.leaked_nanousd / NANO)
        fields = {name: value for name, value in trip_fields(trip).items() if name != "time"}
        logging.getLogger(LOGGER_NAME).warning("guard", extra={"fields": fields})


def exposition(registry: CollectorRegistry, folder: Path | None = None) -> bytes:
    """The metrics as Prometheus text: of this process, or of all that count in the folder, dead ones included."""
    if folder is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def seconds(name: str, about: str, registry: CollectorRegistry) -> Histogram:
    """How long it took, by model."""
    return Histogram(name, about, ("model",), buckets=LATENCY_BUCKETS_S, registry=registry)


class Telemetry:
    """The Observer of the gateway: writes the request's line and moves the metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._log = logging.getLogger(LOGGER_NAME)
        self.requests = Counter(
            "tollgate_requests_total",
            "Requests that ended.",
            ("model", "quality_tier", "outcome", "reason"),
            registry=registry,
        )
        self.rejections = Counter(
            "tollgate_rejections_total", "Requests refused before any vendor saw them.", ("code",), registry=registry
        )
        self.attempts = Counter(
            "tollgate_attempts_total", "Attempts at vendors.", ("model", "outcome", "error_code"), registry=registry
        )
        self.cost = Counter(
            "tollgate_cost_usd_total",
            "Realized cost in USD (approximate; the ledger is exact).",
            ("model",),
            registry=registry,
        )
        self.premium = Counter(
            "tollgate_premium_cost_usd_total", "Modelled cost of premium in USD, point.", ("model",), registry=registry
        )
        self.tokens = Counter("tollgate_tokens_total", "Tokens as billed.", ("model", "direction"), registry=registry)
        self.trimmed = Counter(
            "tollgate_trimmed_tokens_total",
            "Input tokens taken out by the policy, as premium counts them.",
            ("model",),
            registry=registry,
        )
        self.latency = seconds("tollgate_request_seconds", "Seconds to the end of the answer.", registry)
        self.first_byte = seconds("tollgate_first_byte_seconds", "Seconds to the vendor's first event.", registry)
        self.policy_broken = Gauge(
            "tollgate_policy_broken",
            "1 while the policy file cannot be used and an older revision is in force.",
            multiprocess_mode=LIVE_MAX,
            registry=registry,
        )
        self.calibrations_refused = Gauge(
            "tollgate_calibrations_refused",
            "Calibrations on disk that cannot be used; the shipped promise holds instead.",
            multiprocess_mode=LIVE_MAX,
            registry=registry,
        )
        self.calibration_alarms = Gauge(
            "tollgate_calibration_alarms",
            "Workloads whose labels contradict their calibration, or whose prompts drifted from the graded ones.",
            multiprocess_mode=LIVE_MAX,
            registry=registry,
        )

        self.budgets, self.guards = BudgetMetrics(registry), GuardMetrics(registry)
        # Labels are few and their look-up is the dearest part of a count: each series is looked up once.
        self._of_request, self._of_attempt = cache(self.requests.labels), cache(self.attempts.labels)
        self._of_cost, self._of_premium = cache(self.cost.labels), cache(self.premium.labels)
        self._of_tokens = cache(self.tokens.labels)
        self._of_latency, self._of_first_byte = cache(self.latency.labels), cache(self.first_byte.labels)

    def calibrations_told(self, refused: int, alarms: int) -> None:
        """Show how many calibrations are refused, and how many workloads lost their promise."""
        self.calibrations_refused.set(refused)
        self.calibration_alarms.set(alarms)

    def attempt_settled(self, intent: Intent, settlement: Settlement) -> None:
        """Count the attempt and its money."""
        model = intent.model
        self._of_attempt(model, settlement.outcome, settlement.error_code or "none").inc()
        if settlement.cost_nanousd:
            self._of_cost(model).inc(settlement.cost_nanousd / NANO)
        if settlement.tokens is not None:
            self._of_tokens(model, "input").inc(settlement.tokens.input_tokens)
            self._of_tokens(model, "output").inc(settlement.tokens.output_tokens)
        if settlement.premium_cost is not None:
            self._of_premium(model).inc(settlement.premium_cost.point_nanousd / NANO)
        trim = None if intent.receipt is None else intent.receipt.get("trim")
        if isinstance(trim, dict):
            self.trimmed.labels(model).inc(trim["input_tokens_before"] - trim["input_tokens"])

    def request_finished(self, intent: Intent, settlement: Settlement, cost_nanousd: int) -> None:
        """Count the request and write its line."""
        subject, model = intent.subject, intent.model
        tier = subject.quality_tier or "tolerance"
        self._of_request(model, tier, settlement.outcome, subject.reason).inc()
        self._of_latency(model).observe(settlement.latency_ms / 1000)
        if settlement.first_byte_ms is not None:
            self._of_first_byte(model).observe(settlement.first_byte_ms / 1000)
        self._write("request", request_fields_of(subject, intent, settlement, cost_nanousd))

    def request_rejected(self, rejection: Rejection) -> None:
        """Count the refusal and write its line."""
        self.rejections.labels(rejection.error_code).inc()
        fields = request_fields_of(rejection.subject, None, None, 0)
        self._write("rejected", fields | {"error_code": rejection.error_code})

    def _write(self, event: str, fields: dict[str, object]) -> None:
        """One line; the caller's place in the code is not looked for, since no line shows it."""
        if self._log.isEnabledFor(logging.INFO):
            record = self._log.makeRecord(LOGGER_NAME, logging.INFO, "", 0, event, (), None, extra={"fields": fields})
            self._log.handle(record)
