"""A verifier taught by thumbs over real wires: it comes into force, asks a better model, and every cent stays known."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.stack import GatewayProcess, bill_of, order_faults
from router.answer_marks import MARK_NAMES
from router.config import learned
from router.money import parse_usd
from router.receipt import verifier_of_receipt
from tests.e2e.conftest import policy_text
from tests.e2e.test_serve import send, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.simulator import SimulatorProcess

LABELLED = 120
AFTER = 40
CHECKED = "\ncascade: {verify: [refusal, verifier], verifier_min: 0.7, max_attempts: 3}\n"
PREMIUM = "claude-opus-5-5"
CHEAP = ("claude-haiku-5-5", "gemini-3.8-flash", "meta-llama/Llama-3.3-70B-Instruct-Turbo")
SUBJECT = "the migration of storks over the strait"


class Told(GatewayProcess):
    """A gateway that remembers what its client was told to pay, in nano-USD."""

    nanousd: list[int]


@pytest.fixture
def gateway(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[Told]:
    # A seventh of the cheap models' answers break off in the middle, and nothing but the labels calls that bad.
    order_faults(simulator, [{"fault": "truncation", "rate": 0.14, "seed": 3, "models": list(CHEAP)}])
    running = Told(tmp_path / "home", policy_text(simulator) + CHECKED)
    running.nanousd = []
    running.start()
    try:
        yield running
    finally:
        running.stop()


def ask(gateway: Told, number: int) -> tuple[Any, Any]:
    """Ask one question; returns the answer's body and headers."""
    content = f"Write a short note about {SUBJECT}, number {number}."
    body = {"model": "auto", "messages": [{"role": "user", "content": content}]}
    status, said, headers = send(f"{gateway.url}/v1/chat/completions", body, X_Quality_Tier="economy")
    assert status == 200
    gateway.nanousd.append(parse_usd(headers["X-Router-Cost-Usd"]))
    return said, headers


def is_whole(said: Any) -> bool:
    return bool(said["choices"][0]["finish_reason"] == "stop")


def judge(gateway: Told, numbers: range) -> Counter[bool]:
    """Ask and label: what breaks off is bad, all else good."""
    found = Counter[bool]()
    for number in numbers:
        said, headers = ask(gateway, number)
        thumb = {"decision_id": headers["X-Router-Decision-Id"], "ok": is_whole(said), "source": f"user{number % 5}"}
        assert send(f"{gateway.url}/v1/feedback", thumb)[0] == 201
        found[is_whole(said)] += 1
    return found


def receipts_and_ends(gateway: Told) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each decision's receipt and settlements, as they lie in the ledger."""
    found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    with closing(sqlite3.connect(gateway.home / "ledger.sqlite")) as ledger:
        for kind, payload in ledger.execute("SELECT kind, payload FROM ledger_lines ORDER BY seq"):
            line = json.loads(payload)
            if kind == "intent":
                first = (line["receipt"], [])
                _, ends = found.setdefault(line["subject"]["decision_id"], first)
                ends.append({"attempt": line["attempt"], "model": line["model"]})
            elif kind == "settlement":
                _, ends = found[line["decision_id"]]
                next(each for each in ends if each["attempt"] == line["attempt"]).update(line)
    return found


def test_labels_teach_it_and_it_asks_a_better_model_where_an_answer_looks_bad(
    gateway: Told, simulator: SimulatorProcess
) -> None:
    _, headers = ask(gateway, 10_000)
    receipt = gateway.read(f"/v1/decisions/{headers['X-Router-Decision-Id']}")["receipt"]
    assert receipt["cascade"]["verifier"]["why_not"] == "no_labels"
    assert receipt["cascade"]["verifier"]["labels_needed"] == 50
    seen = judge(gateway, range(LABELLED))
    assert seen[False] >= 10
    until(lambda: any(each.verifier and each.verifier.is_in_force for each in newest(gateway)))
    (verifier,) = [each.verifier for each in newest(gateway) if each.verifier]
    assert verifier.weights["cut_off"] < 0
    listed = json.loads(gateway.command("calibrate", "--list", "--json").stdout)
    assert [(row["match"], row["state"]) for row in listed["verifiers"]] == [("all", "in force")]

    def is_followed() -> bool:
        _, headers = ask(gateway, 20_000)
        found = gateway.read(f"/v1/decisions/{headers['X-Router-Decision-Id']}")["receipt"]["cascade"]["verifier"]
        return found["why_not"] is None

    until(is_followed)
    told = Counter[tuple[str, bool]]()
    for number in range(30_000, 30_000 + AFTER):
        said, headers = ask(gateway, number)
        told[headers["X-Router-Cascade"], is_whole(said)] += 1
    assert told["escalated:verifier", True] >= 4
    assert told["passed", True] >= AFTER / 2
    assert told["passed", False] == 0, "what broke off was answered anew"
    gateway.stop()
    verdicts_are_given_again(gateway)
    money_adds_up(gateway, simulator)
    checked = gateway.command("ledger", "verify")
    assert checked.returncode == 0, checked.stdout
    assert SUBJECT.encode() not in (gateway.home / "ledger.sqlite").read_bytes()
    rolled = gateway.command("calibrate", "--rollback", "feedback")
    assert rolled.returncode == 0
    assert not newest(gateway)


def newest(gateway: Told) -> list[Any]:
    return list(learned.read_newest(gateway.home).adjustments.values())


def verdicts_are_given_again(gateway: Told) -> None:
    """What each attempt was found to be follows from its receipt and its marks."""
    verdicts = Counter[bool]()
    for receipt, ends in receipts_and_ends(gateway).values():
        judge = verifier_of_receipt(receipt)
        assert judge is not None
        quality = {each["model"]: each["quality"] for each in receipt["candidates"]}
        for end in ends:
            assert len(end["marks"]) == len(MARK_NAMES)
            if end["model"] != receipt["premium"] and judge.is_in_force:
                is_doubted = judge.doubts(quality[end["model"]], tuple(end["marks"]))
                assert is_doubted == (end["error_code"] == "check_failed:verifier")
                verdicts[is_doubted] += 1
    assert min(verdicts.values()) > 0


def money_adds_up(gateway: Told, simulator: SimulatorProcess) -> None:
    billed = [parse_usd(line["cost_usd"]) for line in bill_of(simulator)]
    with closing(sqlite3.connect(gateway.home / "ledger.sqlite")) as ledger:
        rows = list(ledger.execute("SELECT cost_nanousd, attempts FROM requests"))
        assert ledger.execute("SELECT COUNT(*) FROM open_intents").fetchone()[0] == 0
    assert sum(attempts for _, attempts in rows) == len(billed) > len(rows)
    assert sum(gateway.nanousd) == sum(cost for cost, _ in rows) == sum(billed)
