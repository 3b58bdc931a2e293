"""A workload's promise before and after its graded answers, with the gateway running all the while."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.test_serve import send, until

if TYPE_CHECKING:
    from benchmarks.stack import GatewayProcess

# A kind of prompt, in a language, that the shipped calibration has no ground for.
CLAUSE = "Klauzula {n}: strona zawiadamia na piśmie w ciągu {d} dni. Czy wiąże po zakończeniu umowy?"


def test_graded_answers_are_in_force_within_a_second(gateway: GatewayProcess) -> None:
    def asked() -> tuple[str, dict[str, object]]:
        body = {"model": "auto", "messages": [{"role": "user", "content": CLAUSE.format(n=900, d=31)}]}
        status, _, headers = send(f"{gateway.url}/v1/chat/completions", body, X_Router_Tags="feature=clauses")
        assert status == 200
        receipt = gateway.read(f"/v1/decisions/{headers['X-Router-Decision-Id']}")["receipt"]
        assert isinstance(receipt, dict)
        assert receipt["promise"] == headers["X-Router-Promise"]
        return headers["X-Router-Promise"], receipt

    before, receipt = asked()
    assert before in ("none", "shipped")
    assert receipt["labels_needed"] == 60
    rows = [
        {"prompt": CLAUSE.format(n=n, d=7 + n % 80), "scores": {"claude-opus": 1, "claude-haiku": 1}} for n in range(80)
    ]
    graded = gateway.policy.with_name("graded.jsonl")
    graded.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--workload", "clauses", "--match", "tag:feature=clauses", "--policy", str(gateway.policy))
    done = gateway.command("calibrate", str(graded), *options)
    assert done.returncode == 0, done.stderr + done.stdout
    until(lambda: asked()[0] == "calibrated")
    _, receipt = asked()
    assert receipt["calibration"] == "clauses@1"
    assert receipt["model"] == "claude-haiku"

    assert gateway.command("calibrate", "--rollback", "clauses").returncode == 0
    until(lambda: asked()[0] == before)
