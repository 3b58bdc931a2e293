from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from router.cli import EXIT_FINDINGS, EXIT_OK, app
from router.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ORIGINS = (
    "claude-3-5-sonnet-20241022",
    "Meta-Llama-3.1-8B-Instruct",
    "gemini-1.5-pro-002",
    "gpt-4-1106-preview",
    "mistralai/Mixtral-8x7B-Instruct-v0.1",
)

POLICY = """version: 1
name: new
models:
  opus: {provider_model: anthropic/claude-opus-5-5, vendor: anthropic, tier: premium}
  new: {provider_model: openai/brand-new-9, vendor: somebody, tier: economy, price_usd_per_mtok: {input: 1, output: 1},
        context_window: 100000, output_tokens_max: 1000, capabilities: [system]}
routing: {premium: opus, quality_tiers: {premium: 0.0}, default_tier: premium}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def written(folder: Path, lines: list[bytes]) -> str:
    (folder / "prompts.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return "prompts.jsonl"


def test_each_prompt_gets_a_line_with_the_policys_models_and_every_origins_name(folder: Path) -> None:
    path = written(
        folder,
        [
            b'{"prompt_id": "a", "prompt": "What is 2 + 2?"}',
            b'{"prompt_id": 7, "messages": [{"role": "user", "content": "Prove it."}]}',
        ],
    )
    done = CliRunner().invoke(app, ["score", path])
    assert done.exit_code == EXIT_OK, done.stderr
    assert done.stderr == ""
    rows = rows_of(done.stdout)
    assert [row["prompt_id"] for row in rows] == ["a", 7]
    for row in rows:
        assert list(row) == ["prompt_id", "complexity", "quality"]
        assert 0 <= row["complexity"] <= 1
        assert {"claude-opus", "gemini-flash", "llama-70b", *ORIGINS} <= set(row["quality"])
        assert all(0 <= value <= 1 for value in row["quality"].values())


def test_the_policys_models_alone_and_another_by_name(folder: Path) -> None:
    path = written(folder, [b'{"prompt_id": "a", "prompt": "What is 2 + 2?"}'])
    (row,) = rows_of(CliRunner().invoke(app, ["score", path, "--only-policy", "--model", ORIGINS[0]]).stdout)
    assert set(row["quality"]) > {"claude-opus", ORIGINS[0]}
    assert set(row["quality"]).isdisjoint(ORIGINS[1:])
    (narrow,) = rows_of(CliRunner().invoke(app, ["score", path, "--only-policy"]).stdout)
    assert set(row["quality"]) - set(narrow["quality"]) == {ORIGINS[0]}


def test_a_model_that_nothing_is_known_of_is_refused_with_the_nearest_name(folder: Path) -> None:
    path = written(folder, [b'{"prompt_id": "a", "prompt": "What is 2 + 2?"}'])
    done = CliRunner().invoke(app, ["score", path, "--model", "gemini-flush"])
    assert (done.exit_code, done.stdout) == (2, "")
    said = " ".join(done.stderr.split())
    assert "nothing is known of `gemini-flush`; did you mean `gemini-flash`?" in said.replace("\u2502 ", "")


def test_a_conversation_scores_like_its_prompt_when_it_is_one(folder: Path) -> None:
    path = written(
        folder,
        [
            b'{"prompt_id": "a", "prompt": "Name the largest river of Asia."}',
            b'{"prompt_id": "b", "messages": [{"role": "user", "content": "Name the largest river of Asia."}]}',
        ],
    )
    first, second = rows_of(CliRunner().invoke(app, ["score", path]).stdout)
    assert first["quality"] == second["quality"]


def test_bad_lines_are_named_and_stop_nothing(folder: Path) -> None:
    lines = [
        b'{"prompt_id": "good-1", "prompt": "hi"}',
        b"not json",
        b'{"prompt": "no id"}',
        b'{"prompt_id": "no prompt"}',
        b'{"prompt_id": "empty", "messages": []}',
        b'{"prompt_id": "number", "prompt": 7}',
        b'["a list"]',
        b"",
        b'{"prompt_id": "bytes", "prompt": "\xff"}',
        b'{"prompt_id": "surrogate", "prompt": "\\ud800"}',
        b"[" * 100_000,
        b'{"prompt_id": "good-2", "prompt": ""}',
    ]
    done = CliRunner().invoke(app, ["score", written(folder, lines)], env={"COLUMNS": "80"})
    assert done.exit_code == EXIT_FINDINGS
    assert [row["prompt_id"] for row in rows_of(done.stdout)] == ["good-1", "bytes", "surrogate", "good-2"]
    named = [line.split(":")[1] for line in done.stderr.splitlines() if line.startswith("prompts.jsonl:")]
    assert named == ["2", "3", "4", "5", "6", "7", "11"]
    assert "7 of the lines" in done.stderr
    assert "no id" not in done.stderr, "a prompt is never quoted"


def test_standard_input_and_a_file_to_write(folder: Path) -> None:
    done = CliRunner().invoke(
        app, ["score", "-", "--out", "scored.jsonl"], input='{"prompt_id": "a", "prompt": "hi"}\n'
    )
    assert done.exit_code == EXIT_OK, done.stderr
    assert done.stdout == ""
    assert rows_of((folder / "scored.jsonl").read_text())[0]["prompt_id"] == "a"


def test_a_model_that_nothing_is_known_of_gets_no_number(folder: Path) -> None:
    path = written(folder, [b'{"prompt_id": "a", "prompt": "hi"}'])
    (folder / "policy.yaml").write_text(POLICY)
    done = CliRunner().invoke(app, ["score", path, "--policy", "policy.yaml", "--only-policy"])
    assert set(rows_of(done.stdout)[0]["quality"]) == {"opus"}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["away.jsonl"], "away.jsonl: cannot be read"), (["p", "--out", "no/such/x"], "cannot be written")],
)
def test_what_cannot_be_opened_is_named(folder: Path, words: list[str], wanted: str) -> None:
    (folder / "p").write_text('{"prompt_id": "a", "prompt": "hi"}\n')
    done = CliRunner().invoke(app, ["score", *words])
    assert isinstance(done.exception, ConfigError)
    assert wanted in done.exception.message
