"""`tollgate calibrate`: from graded answers to a version in force, and back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from router.answer_marks import MARK_NAMES
from router.calibration import Adjustment, Match
from router.cli import EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, app
from router.cli.calibrate import Terms, calibrate
from router.cli.verifier_text import WHY_NOT
from router.config import learned
from router.config.calibrations import load, path_of, read
from router.errors import ConfigError
from router.quality import load_quality_model
from router.verifier import Verifier, WhyNot


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clauses(n: int, flash_fails: float = 0.0) -> list[dict[str, Any]]:
    chance = random.Random(5)
    found = []
    for number in range(n):
        party, days = chance.choice(["the Supplier", "the Agent", "the Carrier"]), chance.randint(7, 90)
        prompt = f"Clause {number}.{days}: {party} gives notice within {days} days. Does it bind after the end?"
        flash = 0.0 if chance.random() < flash_fails else 1.0
        found.append({"prompt": prompt, "scores": {"claude-opus": 1.0, "gemini-flash": flash}})
    return found


def written(folder: Path, rows: list[dict[str, Any]]) -> str:
    (folder / "graded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "graded.jsonl"


def run(*options: str) -> Any:
    return CliRunner().invoke(app, ["calibrate", *options])


def test_graded_answers_become_a_promise_and_are_rolled_back(folder: Path) -> None:
    rows = clauses(120)
    done = run(written(folder, rows), "--workload", "contracts", "--match", "team=legal", "--json")
    assert done.exit_code == EXIT_OK, done.output
    said = json.loads(done.stdout)
    assert said["labels"] == said["prompts"] == 120
    after = {row["tolerance"]: row for row in said["after"]}
    assert after[0.05]["promise"] == "calibrated"
    assert after[0.05]["routed_share"] > 0.9
    assert after[0.02]["labels_needed"] == 30
    path = path_of(folder / ".tollgate", "contracts", 1)
    assert not any(row["prompt"][:12] in path.read_text() for row in rows)
    listed = run("--list").stdout.splitlines()[-1]
    assert listed.split()[:4] == ["contracts", "1", "team=legal", "120"]
    assert "too few requests" in listed
    assert json.loads(run("--show", "contracts").stdout)["labels"] == 120

    assert run("graded.jsonl", "--workload", "contracts", "--match", "team=legal").exit_code == EXIT_OK
    assert read(path_of(folder / ".tollgate", "contracts", 2))[0].id == "contracts@2"
    assert json.loads(run("--rollback", "contracts", "--json").stdout)["in_force"] == "contracts@1"
    assert "shipped" in run("--rollback", "contracts").stdout
    assert run("--list").stdout == "no calibration is in force\n"
    with pytest.raises(ConfigError, match="no version to roll back"):
        raise run("--rollback", "contracts").exception
    assert run("graded.jsonl", "--workload", "contracts").exit_code == EXIT_OK
    assert read(path_of(folder / ".tollgate", "contracts", 3))[0].match == Match("all")


def test_a_model_that_fails_too_often_is_not_routed_to(folder: Path) -> None:
    done = run(written(folder, clauses(150, flash_fails=0.5)), "--tolerance", "0.05", "--json")
    (row,) = json.loads(done.stdout)["after"]
    assert row["promise"] == "calibrated"
    assert row["routed_share"] < 0.2


def test_too_few_labels_change_nothing(folder: Path) -> None:
    done = run(written(folder, clauses(30)), "--json")
    assert done.exit_code == EXIT_FINDINGS
    said = json.loads(done.stdout)
    assert said["saved"] is None
    assert [row["labels_needed"] for row in said["after"]] == [120, 30, 20]
    assert "too few labels" in run("graded.jsonl").stdout


def test_every_line_counts_or_is_named(folder: Path) -> None:
    lines = [
        '{"prompt": "a", "model": "claude-opus", "score": 1}',
        "{",
        '{"prompt": "a", "model": "nobody", "score": 1}',
        '{"prompt": "a", "model": "gemini-flash", "score": 2}',
        '{"prompt": "a", "model": "claude-opus", "score": 0}',
        '{"prompt": "b", "better": "claude-opus", "worse": "gemini/gemini-3.8-flash"}',
        '{"prompt": "c"}',
        '{"model": "claude-opus", "score": 1}',
        '{"messages": [{"role": "user", "content": "d"}], "scores": {"claude-opus": 1, "gemini-3.8-flash": 0.5}}',
    ]
    (folder / "graded.jsonl").write_text("\n".join(lines))
    done = run("graded.jsonl", "--json")
    assert done.exit_code == EXIT_FINDINGS
    said = json.loads(done.stdout)
    assert (said["lines"], said["prompts"], said["labels"]) == (9, 3, 2)
    assert [finding.split(": ")[0] for finding in said["findings"]] == [f"graded.jsonl:{n}" for n in (2, 3, 4, 5, 7, 8)]


def test_csv_says_the_same(folder: Path) -> None:
    rows = ["prompt,model,score"]
    for row in clauses(60):
        rows += [f'"{row["prompt"]}",{model},{score}' for model, score in row["scores"].items()]
    (folder / "graded.csv").write_text("\n".join(rows))
    said = json.loads(run("graded.csv", "--json", "--tolerance", "0.1").stdout)
    assert (said["prompts"], said["labels"], said["findings"]) == (60, 60, [])
    assert said["saved"] is not None


def test_what_was_tampered_with_or_made_elsewhere_is_refused(folder: Path) -> None:
    assert run(written(folder, clauses(60)), "--tolerance", "0.1").exit_code == EXIT_OK
    home, revision = folder / ".tollgate", load_quality_model(None).revision
    assert load(home, revision).calibrations
    other = load(home, "another")
    assert not other.calibrations
    assert "another quality model" in other.refused[0]
    path = path_of(home, "default", 1)
    sound = path.read_text()
    path.write_text(sound.replace('"labels": 60', '"labels": 61'))
    assert "does not match its own hash" in load(home, revision).refused[0]
    assert run("--list").exit_code == EXIT_FINDINGS
    path.write_text(sound[:-20])
    assert "cut off" in load(home, revision).refused[0]
    path.write_text(sound)
    path.rename(path.with_name("7.json"))
    assert "moved or copied" in load(home, revision).refused[0]


@pytest.mark.parametrize("options", [[], ["x.jsonl", "--list"]])
def test_one_thing_at_a_time(options: list[str]) -> None:
    assert run(*options).exit_code == EXIT_USAGE


def test_a_match_must_mean_something(folder: Path) -> None:
    name = written(folder, clauses(1))
    for match in ("legal", "rule=none", "team=", "tag:=x"):
        assert run(name, "--match", match).exit_code == EXIT_USAGE


def test_a_version_stays_where_the_next_one_is_worse_unless_forced(folder: Path) -> None:
    assert run(written(folder, clauses(200)), "--workload", "contracts").exit_code == EXIT_OK
    worse = run(written(folder, clauses(200, flash_fails=0.04)), "--workload", "contracts", "--json")
    said = json.loads(worse.stdout)
    assert said["former"] == "contracts@1"
    assert [row["tolerance"] for row in said["former_rows"]] == [row["tolerance"] for row in said["after"]]
    assert all(row["loss"] <= row["loss_high"] for row in said["after"])
    again = run(written(folder, clauses(60)), "--workload", "contracts", "--json")
    said = json.loads(again.stdout)
    assert again.exit_code == EXIT_FINDINGS
    assert said["former_stays"] == "it has labels enough for 0.02, the new one has not"
    assert not path_of(folder / ".tollgate", "contracts", 3).exists()
    text = run(written(folder, clauses(60)), "--workload", "contracts").stdout
    assert "stays:" in text
    assert "--force replaces it" in text
    assert run(written(folder, clauses(60)), "--workload", "contracts", "--force").exit_code == EXIT_OK


def test_grades_of_simulated_vendors_do_not_outlast_the_simulation_unasked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(folder, clauses(200))
    for force in (False, True):
        terms = Terms("contracts", "team=legal", (0.1,), force=force)
        assert calibrate(path, terms, live={"is_simulated": True}) == (0 if force else 1)
        assert ("these grades are of simulated vendors" in capsys.readouterr().out) is not force
        assert bool(list(folder.glob("**/calibrations/contracts/*.json"))) is force
    assert calibrate(path, Terms("other", "team=legal", (0.1,)), live={"is_simulated": False}) == 0


def test_texts_of_answers_say_what_the_checks_catch(folder: Path) -> None:
    rows = clauses(60, flash_fails=0.3)
    for row in rows:
        is_bad = row["scores"]["gemini-flash"] == 0.0
        row["answers"] = {
            "gemini-flash": "I'm sorry, but I can't help with that." if is_bad else "It binds.",
            "claude-opus": {"text": "It binds.", "finish_reason": "stop"},
        }
    done = run(written(folder, rows), "--json")
    checks = json.loads(done.stdout)["checks"]["gemini-flash"]
    assert checks["bad"] == checks["caught"] == checks["by_check"]["refusal"] > 5
    assert 0.7 < checks["catch_rate_low"] < checks["catch_rate"] == 1.0
    assert checks["false_alarms"] == 0
    text = run(written(folder, rows)).stdout
    assert f"catch_rate: {{gemini-flash: {checks['catch_rate_low']:.3f}}}" in text
    assert "can't help" not in text


def test_a_tie_and_a_preference_are_grades_in_either_format(folder: Path) -> None:
    pairs = [{"prompt": f"Question {n}?", "tie": ["claude-opus", "gemini-flash"]} for n in range(30)]
    pairs += [{"prompt": f"Other {n}?", "better": "claude-opus", "worse": "gemini-flash"} for n in range(30)]
    said = json.loads(run(written(folder, pairs), "--json").stdout)
    assert (said["labels"], said["findings"]) == (60, [])
    (folder / "pairs.csv").write_text(
        'prompt,better,worse,tie\nOne?,claude-opus,gemini-flash,\nTwo?,,,"claude-opus, gemini-flash"\nThree?,,,one\n'
    )
    done = run("pairs.csv", "--json")
    said = json.loads(done.stdout)
    assert said["labels"] == 2
    assert said["findings"] == ["pairs.csv:4: a `tie` names two models"]


def test_bad_answers_lines_are_named(folder: Path) -> None:
    good = clauses(1)[0]
    rows = [{**good, "answers": []}, {**good, "answers": {"gemini-flash": 5}},
            {**good, "answers": {"gemini-flash": {"text": "x", "finish_reason": "odd"}}}, good]  # fmt: skip
    said = json.loads(run(written(folder, rows), "--json").stdout)
    assert [each.split(":")[1] for each in said["findings"]] == ["1", "2", "3"]


def test_feedback_is_shown_and_rolled_back(folder: Path) -> None:
    assert json.loads(run("--show", "feedback").stdout)["version"] == 0
    assert "count no more" in run("--rollback", "feedback").stdout
    said = json.loads(run("--show", "feedback").stdout)
    assert (said["version"], said["workloads"]) == (1, [])
    assert isinstance(run(written(folder, clauses(60)), "--workload", "feedback").exception, ConfigError)


def test_a_verifier_that_labels_teach_is_listed_with_what_is_missing(folder: Path) -> None:
    revision = load_quality_model(None).revision
    taught = Verifier(None, 120, 0, 0.2, 0.1, -0.1, {name: -0.5 if name == "hedging" else 0.1 for name in MARK_NAMES})
    waiting = Verifier("too_few_bad", 60, 7)
    found = {
        match: Adjustment(match, {}, 90, 3, verifier=verifier)
        for match, verifier in ((Match("team", "legal"), taught), (Match("all"), waiting))
    }
    learned.save(folder / ".tollgate", learned.Learned(5, 1, 0, revision, found))
    rows = json.loads(run("--list", "--json").stdout)["verifiers"]
    assert [(row["match"], row["version"], row["labels"], row["labels_needed"]) for row in rows] == [
        ("all", "feedback@5", 60, 7), ("team=legal", "feedback@5", 120, 0),
    ]  # fmt: skip
    assert [row["state"] for row in rows] == ["too few answers were judged as bad (too_few_bad)", "in force"]
    listed = run("--list").stdout
    assert "too few answers were judged as bad" in listed
    assert "in force" in listed
    policy = folder / "policy.yaml"
    text = (Path(__file__).parents[3] / "policies" / "default.yaml").read_text()
    policy.write_text(f"{text}\ncascade: {{verify: [verifier], verifier_min: 0.55}}\n")
    asked = ["explain", "What is the capital of France?", "--tier", "balanced", "--policy", str(policy)]
    said = CliRunner().invoke(app, asked).stdout
    assert "verifier    not in force, every answer passes: too few answers were judged as bad (too_few_bad)" in said
    assert "about 7 more labels are needed" in said
    learned.save(
        folder / ".tollgate",
        learned.Learned(6, 1, 0, revision, {Match("all"): Adjustment(Match("all"), {}, 120, 3, verifier=taught)}),
    )
    said = CliRunner().invoke(app, asked).stdout
    assert "in force by feedback@6, 120 labels; an answer below a chance of 0.55 fails" in said
    assert "hedging -0.50" in said
    learned.save(folder / ".tollgate", learned.Learned(7, 1, 0, "another quality model", found))
    assert json.loads(run("--list", "--json").stdout)["verifiers"] == []
    (learned.folder_of(folder / ".tollgate") / "7.json").write_text("[")
    refused = run("--list")
    assert refused.exit_code == EXIT_FINDINGS
    assert "--rollback feedback" in refused.stderr


def test_every_reason_why_it_is_not_in_force_has_words() -> None:
    assert set(WHY_NOT) == set(WhyNot.__args__)


def test_explain_follows_the_calibration_and_says_what_the_tolerance_rests_on(folder: Path) -> None:
    prompt = clauses(1)[0]["prompt"]
    asked = ["explain", prompt, "--tolerance", "0.05", "--team", "legal"]
    before = CliRunner().invoke(app, asked).stdout
    assert "60 graded prompts of this workload would calibrate it" in before
    run(written(folder, clauses(120)), "--workload", "contracts", "--match", "team=legal")
    after = CliRunner().invoke(app, asked).stdout
    assert "promise     calibrated, by contracts@1" in after
    assert "gemini-flash answers" in after
    elsewhere = json.loads(CliRunner().invoke(app, [*asked[:-1], "sales", "--json"]).stdout)
    assert elsewhere["calibration"] is None
    path = path_of(folder / ".tollgate", "contracts", 1)
    path.write_text(path.read_text().replace('"labels": 120', '"labels": 121'))
    assert "refused:" in CliRunner().invoke(app, asked).stderr
