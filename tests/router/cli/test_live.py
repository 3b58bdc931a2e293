"""Asking for grades: the journal, the limit, and what a judge's word becomes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from router.bill import Bill
from router.chat import Reply, Text
from router.cli import EXIT_OK, app, live
from router.cli.live import (
    PROMPTS_AT_ONCE,
    UNREADABLE_MAX,
    LiveRun,
    Plan,
    Prompt,
    graded_of,
    plan_of,
    read_prompts,
    write_graded,
)
from router.cli.live_journal import Done, Journal
from router.errors import BudgetExhaustedError, ConfigError, ProviderRejectedError, ProviderUnavailableError
from router.gateway import Answer
from router.policy import Caller
from tests.builders import model_of, policy_of

if TYPE_CHECKING:
    from pathlib import Path

POLICY = policy_of(
    model_of("premium", output_usd="50"), model_of("cheap", vendor="google"), model_of("judge", vendor="meta")
)
PLAN = Plan(POLICY, {"cheap": "judge"}, 100)
COST = 1_000


@dataclass
class FakeGateway:
    """Answers as told; counts what it was asked, and how many calls are under way at once."""

    says: Any
    asked: list[tuple[str, str]] = field(default_factory=list)
    running: int = 0
    most: int = 0

    @property
    def admission(self) -> Any:
        async def request(_: str) -> None:
            return None

        return SimpleNamespace(ledger=SimpleNamespace(request=request))

    async def answer(self, request: Any, caller: Caller, terms: Any) -> Answer:
        assert terms.tags == {"purpose": "calibration"}
        assert caller == Caller()
        text = "".join(part.text for message in request.messages for part in message.parts)
        self.asked.append((request.model, text))
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        said = self.says(request.model, text)
        if isinstance(said, Exception):
            raise said
        reply = Reply("id", request.model, (Text(said),), "stop", None)
        bill = Bill("dec", request.model, "pinned", 0.5, 0.0, COST, None, (), 1, "reported")
        return Answer(reply, bill)


def wise(model: str, text: str) -> str:
    """A judge that prefers `good`, wherever it stands; the cheap model is bad at every third prompt."""
    if model != "judge":
        return "good" if model == "premium" or "3" not in text else "bad"
    material = json.loads(text[text.index("{") : text.rindex("}") + 1])
    first, second = material["answer_a"], material["answer_b"]
    return f"VERDICT: {'TIE' if first == second else 'A' if first == 'good' else 'B'}"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(12)))
    return path


def run(path: Path, gateway: FakeGateway, *, limit: int = 10**12, plan: Plan = PLAN) -> tuple[LiveRun, Journal]:
    asked, _ = read_prompts(str(path), 100)
    with Journal(path.with_suffix(".journal")) as journal:
        made = LiveRun(gateway, plan, journal, limit)  # type: ignore[arg-type]
        asyncio.run(made.run(asked))
    return made, journal


def graded(path: Path, journal: Journal) -> list[dict[str, Any]]:
    return graded_of(read_prompts(str(path), 100)[0], PLAN, journal).rows


def test_a_judges_word_becomes_graded_prompts(prompts: Path) -> None:
    _, journal = run(prompts, FakeGateway(wise))
    rows = graded(prompts, journal)
    assert len(rows) == 12
    assert {row["prompt"]: row["scores"]["cheap"] for row in rows if row["scores"]["cheap"] == 0.0} == {
        "question 3": 0.0
    }
    assert all(row["scores"]["premium"] == 1.0 for row in rows)
    write_graded(prompts.with_suffix(".out"), rows)
    assert prompts.with_suffix(".out").stat().st_mode & 0o077 == 0


def test_the_judge_is_blind_and_sees_both_orders(prompts: Path) -> None:
    gateway = FakeGateway(wise)
    run(prompts, gateway)
    asked = [text for model, text in gateway.asked if model == "judge" and "question 3" in text]
    assert len(asked) == 2
    assert not any(name in text for text in asked for name in ("premium", "cheap", "anthropic"))
    assert asked[0] != asked[1]


def test_a_second_run_asks_nothing(prompts: Path) -> None:
    first, second = FakeGateway(wise), FakeGateway(wise)
    _, before = run(prompts, first)
    _, after = run(prompts, second)
    assert (len(first.asked), second.asked) == (12 * 4, [])
    assert graded(prompts, after) == graded(prompts, before)


def test_a_call_that_was_cut_off_is_charged_at_its_hold_and_never_made_again(prompts: Path) -> None:
    gateway = FakeGateway(wise)
    with Journal(prompts.with_suffix(".journal")) as journal:
        asked, _ = read_prompts(str(prompts), 1)
        journal.begin(f"{live.answer_id(asked[0], 'premium')}#1", 777)
    path = prompts.with_suffix(".journal")
    path.write_bytes(path.read_bytes() + b'{"call":"torn')
    _, journal = run(prompts, gateway)
    assert journal.cut_off == {f"{live.answer_id(asked[0], 'premium')}#1": 777}
    assert len(gateway.asked) == 11 * 4
    assert journal.spent_nanousd == 777 + 11 * 4 * COST
    with Journal(path) as again:
        assert again.spent_nanousd == journal.spent_nanousd


@pytest.mark.parametrize("calls", [0.5, 1.5, 3.0, 7.2])
def test_the_limit_is_never_passed_however_many_ask_at_once(prompts: Path, calls: float) -> None:
    asked, _ = read_prompts(str(prompts), 1)
    limit = int(PLAN.hold_of(PLAN.answer_request(asked[0], "premium")) * calls)
    worst = 0

    def expensive(model: str, text: str) -> str:
        nonlocal worst
        with_path = prompts.with_suffix(".journal")
        rows = [json.loads(line) for line in with_path.read_bytes().splitlines()]
        ended = {row["call"]: row["cost_nanousd"] for row in rows if "cost_nanousd" in row}
        worst = max(worst, sum(ended.get(row["call"], row["hold_nanousd"]) for row in rows if "hold_nanousd" in row))
        return wise(model, text)

    made, journal = run(prompts, FakeGateway(expensive), limit=limit)
    assert worst <= limit
    assert journal.spent_nanousd <= limit
    assert made.is_out_of_money == (calls < 1 or len(journal.done) < 48)


def test_what_a_vendor_refused_is_not_asked_again_and_what_was_away_is(
    prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAUSE_S", 0.0)
    gateway = FakeGateway(lambda model, text: ProviderRejectedError("no") if model == "premium" else wise(model, text))
    run(prompts, gateway)
    assert len(gateway.asked) == 12
    away = FakeGateway(lambda *_: ProviderUnavailableError("busy"))
    path = prompts.with_name("others.jsonl")
    path.write_text('{"prompt": "one"}\n')
    run(path, away)
    assert len(away.asked) == live.TRIES


def test_what_no_call_would_fare_better_with_ends_the_run_and_may_be_tried_again(prompts: Path) -> None:
    broke = FakeGateway(lambda *_: BudgetExhaustedError("no money in team-day"))
    with pytest.raises(BudgetExhaustedError):
        run(prompts, broke)
    _, journal = run(prompts, FakeGateway(wise))
    assert len(graded(prompts, journal)) == 12


def garbled(model: str, text: str) -> str:
    return "\ud800 I like both {}" if model == "judge" else wise(model, text)


def test_garbage_of_a_judge_grades_nothing(prompts: Path) -> None:
    """A word in between that can be read shows that the judge can be."""
    _, journal = run(prompts, FakeGateway(lambda *said: (wise if "question 3" in said[1] else garbled)(*said)))
    found = graded_of(read_prompts(str(prompts), 100)[0], PLAN, journal)
    assert ([row["prompt"] for row in found.rows], found.unreadable, found.missing) == (["question 3"], 11, 0)


def test_a_judge_that_cannot_be_read_is_not_paid_for_long_and_another_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(40)))
    gateway = FakeGateway(garbled)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"judge: its last 10 comparisons .*--judge") as caught:
            run(path, gateway)
        assert "I like both" not in caught.value.message
        asked = len(gateway.asked)
        assert asked <= 4 * (UNREADABLE_MAX + PROMPTS_AT_ONCE), "the second run reads the first one's journal"
    policy = policy_of(*POLICY.models.values(), model_of("other", vendor="openai"))
    again = FakeGateway(lambda model, text: wise("judge" if model == "other" else model, text))
    _, journal = run(path, again, plan=Plan(policy, {"cheap": "other"}, 100))
    assert len(graded_of(read_prompts(str(path), 100)[0], Plan(policy, {"cheap": "other"}, 100), journal).rows) == 40
    answers = [model for model, _ in gateway.asked + again.asked if model in ("premium", "cheap")]
    assert len(answers) == 2 * 40, "an answer was asked for twice"


@pytest.mark.parametrize("name", ["gemini/gemini-9-flash", "anthropic/claude-x"])
def test_a_judge_that_thinks_has_room_to_come_to_its_word(name: str) -> None:
    judge = model_of("judge", provider_model=name, thinking_always_on="claude" in name)
    plan = Plan(policy_of(model_of("premium"), judge), {}, 100)
    prompt = Prompt("k", {}, [{"role": "user", "content": "hello"}], "hello")
    assert plan.judge_request(prompt, "judge", "one", "two").output_tokens_max == 4_096
    assert plan.judge_request(prompt, "premium", "one", "two").output_tokens_max == 512


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(ConfigError, match="another live calibration"), Journal(tmp_path / "j"):
        pass
    with Journal(tmp_path / "j") as journal:
        journal.begin("c", 5)
        journal.end("c", Done(3, "text"))
    with Journal(tmp_path / "j") as journal:
        assert (journal.spent_nanousd, journal.knows("c"), journal.knows("d")) == (3, True, False)


def test_prompts_are_read_once_each_and_bad_lines_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = ['{"prompt": "one"}', '{"prompt": "one"}', "x", '{"prompt": ""}', '{"messages": [{"role": "user"}]}', "[]",
             '{"messages": [{"role": "user", "content": "two"}], "group": "g"}', '{"prompt": "\\ud800"}']  # fmt: skip
    path.write_text("\n".join(lines))
    found, findings = read_prompts(str(path), 10)
    assert [each.row for each in found][:2] == [
        {"prompt": "one"}, {"messages": [{"role": "user", "content": "two"}], "group": "g"},
    ]  # fmt: skip
    assert [each.removeprefix(f"{path}:").split(":")[0] for each in findings[:4]] == ["3", "4", "5", "6"]
    assert len(read_prompts(str(path), 1)[0]) == 1


def test_a_plan_needs_a_judge_of_a_third_vendor() -> None:
    assert plan_of(POLICY, [], [], 10).judges == {"cheap": "judge", "judge": "cheap"}
    assert plan_of(POLICY, ["cheap"], ["judge"], 10).judges == {"cheap": "judge"}
    for models, judges in ((["cheap"], ["cheap"]), (["premium"], []), (["other"], []), ([], ["other"])):
        with pytest.raises(ConfigError):
            plan_of(POLICY, models, judges, 10)


def test_a_dry_run_asks_nobody_and_writes_nothing(prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOLLGATE_SIMULATE", "1")
    monkeypatch.chdir(prompts.parent)
    options = ["calibrate", str(prompts), "--live", "--dry-run", "--n", "2", "--model", "claude-haiku", "--json"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == EXIT_OK, done.output
    said = json.loads(done.stdout)["live"]
    assert (said["calls"], said["is_dry_run"]) == (2 * 4, True)
    assert float(said["expected_usd"]) > 0
    assert [each.name for each in prompts.parent.iterdir()] == [prompts.name]
    broken = CliRunner().invoke(app, [*options, "--judge", "claude-opus"])
    assert isinstance(broken.exception, ConfigError)
    assert "nobody may judge it" in broken.exception.message
