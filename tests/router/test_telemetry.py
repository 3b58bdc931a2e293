from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from router.policy import Caller, Terms
from router.telemetry import LOGGER_NAME, JsonLines, Telemetry, start_logging
from tests.builders import request_of
from tests.lines import failure_line, intent_line, rejection_line, settlement_line
from tests.router.scripted import CHEAP, DEAR, ScriptedStream, Stage, leap, read_all, reply_of
from tests.router.test_dispatch import busy, odd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.ledger import Settlement

SECRET = "the-merger-is-on-friday"


@pytest.fixture
def told() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger(LOGGER_NAME)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel("INFO")
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


def samples_of(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


def finished(**changes: Any) -> tuple[CollectorRegistry, Settlement]:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)
    settlement = settlement_line(**changes)
    telemetry.attempt_settled(intent_line(), settlement)
    telemetry.request_finished(intent_line(), settlement, settlement.cost_nanousd)
    return registry, settlement


def test_an_answer_moves_every_counter_of_its_model() -> None:
    registry, settlement = finished()
    assert settlement.tokens is not None
    assert samples_of(registry, "tollgate_requests_total") == {
        ("haiku", "balanced", "answered", "cheapest_within_tolerance"): 1
    }
    assert samples_of(registry, "tollgate_attempts_total") == {("haiku", "answered", "none"): 1}
    assert samples_of(registry, "tollgate_cost_usd_total") == {("haiku",): pytest.approx(0.001234567)}
    assert samples_of(registry, "tollgate_premium_cost_usd_total") == {("haiku",): pytest.approx(0.005)}
    assert samples_of(registry, "tollgate_tokens_total") == {
        ("haiku", "input"): settlement.tokens.input_tokens,
        ("haiku", "output"): settlement.tokens.output_tokens,
    }
    assert samples_of(registry, "tollgate_request_seconds_sum") == {("haiku",): pytest.approx(0.48)}
    assert samples_of(registry, "tollgate_first_byte_seconds_sum") == {("haiku",): pytest.approx(0.12)}


def test_a_failure_that_cost_nothing_moves_no_money() -> None:
    registry = CollectorRegistry()
    Telemetry(registry).attempt_settled(intent_line(), failure_line())
    assert samples_of(registry, "tollgate_attempts_total") == {("haiku", "failed", "provider_unavailable"): 1}
    assert samples_of(registry, "tollgate_cost_usd_total") == {}
    assert samples_of(registry, "tollgate_tokens_total") == {}


def test_a_request_without_a_first_byte_has_none_to_measure() -> None:
    registry, _ = finished(first_byte_ms=None)
    assert samples_of(registry, "tollgate_first_byte_seconds_count") == {}


def test_one_line_for_each_end(told: list[logging.LogRecord]) -> None:
    finished()
    Telemetry(CollectorRegistry()).request_rejected(rejection_line("d2"))
    answered, rejected = (json.loads(JsonLines().format(record)) for record in told)
    assert (answered["event"], answered["level"], answered["decision_id"]) == ("request", "info", "d1")
    assert (answered["model"], answered["quality_tier"], answered["outcome"]) == ("haiku", "balanced", "answered")
    assert (answered["cost_usd"], answered["latency_ms"], answered["first_byte_ms"]) == ("0.001234567", 480, 120)
    assert (answered["input_tokens"], answered["output_tokens"]) == (120, 55)
    assert (rejected["event"], rejected["decision_id"], rejected["error_code"]) == (
        "rejected",
        "d2",
        "no_eligible_model",
    )


def test_a_failed_request_says_so_without_figures(told: list[logging.LogRecord]) -> None:
    Telemetry(CollectorRegistry()).request_finished(intent_line(), failure_line(), 0)
    line = json.loads(JsonLines().format(told[0]))
    assert (line["outcome"], line["error_code"], line["input_tokens"]) == ("failed", "provider_unavailable", None)
    assert line["premium_cost_usd"] is None


def test_whatever_is_asked_the_labels_are_the_programs_own(told: list[logging.LogRecord]) -> None:
    registry = CollectorRegistry()
    stage = Stage(
        {
            CHEAP: [reply_of(), busy(9.0), reply_of(), ScriptedStream(), odd()],
            DEAR: [reply_of(), odd()],
        }
    )
    telemetry = Telemetry(registry)
    admission = replace(stage.gateway.admission, observer=telemetry)
    gateway = replace(stage.gateway, admission=admission, dispatch=replace(stage.dispatch, admission=admission))
    caller = Caller(key_id="k1", team="search", tags={SECRET: SECRET})

    async def story() -> None:
        asks = [
            (request_of(text=SECRET), Terms(session_id=SECRET, tags={SECRET: SECRET})),
            (request_of(text=SECRET), Terms(tolerance=0.123456789)),
            (request_of(text=SECRET, end_user=SECRET), Terms(quality_tier="economy")),
            (request_of(model=SECRET), Terms()),
            (request_of(), Terms(quality_tier=SECRET)),
        ]
        for request, terms in asks:
            answers = await asyncio.gather(gateway.answer(request, caller, terms), return_exceptions=True)
            assert SECRET not in "".join(str(each) for each in answers if isinstance(each, BaseException))
        await read_all(await gateway.open_stream(request_of(text=SECRET), caller, Terms()))

    leap(story())
    exposed = generate_latest(registry).decode()
    lines = [JsonLines().format(record) for record in told]
    assert SECRET not in exposed
    assert not any(SECRET in line for line in lines)
    assert len(lines) == 6
    known = {
        "model": {CHEAP, DEAR},
        "quality_tier": {"balanced", "economy", "tolerance"},
        "outcome": {"answered", "failed"},
        "reason": {"cheapest_within_tolerance"},
        "code": {"model_not_found", "unknown_quality_tier"},
        "error_code": {"none", "provider_unavailable", "provider_error"},
        "direction": {"input", "output"},
    }
    for metric in registry.collect():
        for sample in metric.samples:
            for label, value in sample.labels.items():
                assert label == "le" or value in known[label], (metric.name, label, value)


def test_a_line_is_one_json_object_whatever_it_holds() -> None:
    try:
        raise RuntimeError("spent")  # noqa: TRY301 - the traceback is what is tested
    except RuntimeError:
        record = logging.LogRecord(LOGGER_NAME, logging.ERROR, __file__, 1, "two\nlines", (), sys.exc_info())
    record.fields = {"path": LOGGER_NAME.__class__, "n": 1}
    text = JsonLines().format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert (line["event"], line["level"], line["n"]) == ("two\nlines", "error", 1)
    assert "RuntimeError: spent" in line["traceback"]


def test_logging_goes_through_a_queue_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger(LOGGER_NAME)
    before = (logger.handlers, logger.level, logger.propagate)
    listener = start_logging("WARNING")
    try:
        logger.info("quiet")
        logger.warning("loud", extra={"fields": {"n": 1}})
    finally:
        listener.stop()
        logger.handlers, logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
    (text,) = capsys.readouterr().err.splitlines()
    line = json.loads(text)
    assert (line["event"], line["level"], line["n"]) == ("loud", "warning", 1)
    assert line["time"].endswith("Z")
