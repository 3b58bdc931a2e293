"""Thumbs on answers: they move the asking key's own routing, nobody else's, and are taken back by one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.config import learned
from tests.e2e.test_serve import send, until

if TYPE_CHECKING:
    from benchmarks.stack import GatewayProcess

PROMPT = "Klauzula {n}: strona zawiadamia na piśmie w ciągu {d} dni. Czy wiąże po zakończeniu umowy?"


def test_thumbs_become_a_version_and_the_report_tells_the_loss(gateway: GatewayProcess) -> None:
    # Pinned to a cheap model, so that every answer is one that premium did not give.
    for number in range(35):
        body = {"model": "claude-haiku", "messages": [{"role": "user", "content": PROMPT.format(n=number, d=9)}]}
        status, _, headers = send(f"{gateway.url}/v1/chat/completions", body)
        assert status == 200
        said = {"decision_id": headers["X-Router-Decision-Id"], "ok": False, "source": f"user{number % 5}"}
        assert send(f"{gateway.url}/v1/feedback", said)[0] == 201
    report = gateway.read("/v1/reports/savings")
    rows = {row["tier"]: row for row in report["quality"]}
    assert set(rows) == {"premium", "high", "balanced", "economy"}
    assert rows["economy"]["realised_loss"] is None
    labelled = [row for row in rows.values() if row["labels"]]
    assert [row["labels"] for row in labelled] == [35]
    assert labelled[0]["realised_loss"]["low"] > 0.3

    def alarms() -> list[str]:
        found = learned.read_newest(gateway.home).adjustments.values()
        return [str(each.match) for each in found if each.alarm is not None]

    until(lambda: alarms() == ["all"])
    assert gateway.read("/readyz")["calibrations"] == {"refused": []}
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}

    def answered() -> tuple[str, str]:
        _, _, headers = send(f"{gateway.url}/v1/chat/completions", body)
        return headers["X-Router-Model"], headers["X-Router-Promise"]

    until(lambda: answered() == ("claude-opus", "none"))

    assert gateway.command("calibrate", "--rollback", "feedback").returncode == 0
    assert learned.read_newest(gateway.home).adjustments == {}
