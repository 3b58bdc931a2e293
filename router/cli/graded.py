"""Reads graded answers: JSONL or CSV, a prompt a line with its models' scores, a row a model, or a preference."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.chat import Message, Request, Text
from router.errors import ConfigError, RequestError
from router.server.openai_parse import parse_chat

Resolve = Callable[[str], str | None]
ROW_FIELDS = frozenset(
    {"prompt", "messages", "prompt_id", "group", "model", "score", "better", "worse", "scores", "tie", "answers"}
)
FINISH_REASONS = ("stop", "length", "content_filter")


@dataclass(slots=True)
class Graded:
    """One prompt with the scores 0..1 of its answers, by ``provider_model``, and the texts of those that were given."""

    request: Request
    group: str
    scores: dict[str, float] = field(default_factory=dict)
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the file holds, and each line that could not be read as ``file:line: why``."""

    prompts: tuple[Graded, ...]
    findings: tuple[str, ...]
    lines: int


class BadLineError(Exception):
    """A line that holds no graded answer; the message says why, without quoting the prompt."""


def read_graded(path: str, resolve: Resolve) -> Dataset:
    """Every line of the file; rows of one prompt are one. Raises ConfigError where the file cannot be opened."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    found: dict[str, Graded] = {}
    findings: list[str] = []
    count = 0
    for number, row in _rows_of(path, text):
        count += 1
        try:
            if isinstance(row, BadLineError):
                raise row
            _take(row, found, resolve)
        except BadLineError as error:
            findings.append(f"{path}:{number}: {error}")
    return Dataset(tuple(found.values()), tuple(findings), count)


def _rows_of(path: str, text: str) -> Iterator[tuple[int, Mapping[str, Any] | BadLineError]]:
    if path.endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if name and value not in (None, "")}
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield number, BadLineError("not JSON")
                continue
            yield number, row if isinstance(row, dict) else BadLineError("must be an object")


def _take(row: Mapping[str, Any], found: dict[str, Graded], resolve: Resolve) -> None:
    """Add what one line says. Raises BadLineError, and then adds nothing."""
    scores = {_model_of(name, resolve): _score_of(value) for name, value in _scores_of(row).items()}
    answers = {_model_of(name, resolve): value for name, value in _answers_of(row)}
    request, text = _request_of(row)
    known = found.get(text)
    if known is not None and any(known.scores.get(name, score) != score for name, score in scores.items()):
        raise BadLineError("grades an answer again, and otherwise: keep one of the two lines")
    if known is None:
        # Twins that differ in case or blanks alone prove nothing twice.
        group = str(row.get("group") or re.sub(r"\s+", " ", text.casefold()).strip())
        known = found[text] = Graded(request, group)
    known.scores.update(scores)
    known.answers.update(answers)


def _scores_of(row: Mapping[str, Any]) -> dict[str, Any]:
    if "better" in row or "worse" in row:
        if "better" not in row or "worse" not in row:
            raise BadLineError("a preference needs `better` and `worse`, two models")
        return {str(row["better"]): 1.0, str(row["worse"]): 0.0}
    if "tie" in row:
        sides = row["tie"].split(",") if isinstance(row["tie"], str) else row["tie"]
        if not isinstance(sides, list) or len(sides) != 2:  # noqa: PLR2004  # a pair
            raise BadLineError("a `tie` names two models")
        return {str(each).strip(): 1.0 for each in sides}
    if "model" in row or "score" in row:
        if "model" not in row or "score" not in row:
            raise BadLineError("a graded answer needs `model` and `score`")
        return {str(row["model"]): row["score"]}
    stated = row.get("scores", {name: value for name, value in row.items() if name not in ROW_FIELDS})
    if not isinstance(stated, dict) or not stated:
        raise BadLineError(
            "holds no score: give `scores`, a model each, or `model` and `score`, or `better` and `worse`"
        )
    return {str(name): value for name, value in stated.items()}


def _answers_of(row: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """The texts of answers, each with how it ended: a text alone, or ``{text, finish_reason}``."""
    stated = row.get("answers", {})
    if not isinstance(stated, dict):
        raise BadLineError("`answers` must be an object of models and texts")
    for name, value in stated.items():
        text, reason = (
            (value.get("text"), value.get("finish_reason", "stop")) if isinstance(value, dict) else (value, "stop")
        )
        if not isinstance(text, str) or reason not in FINISH_REASONS:
            raise BadLineError(f"an answer must be a text, or a `text` and one of {', '.join(FINISH_REASONS)}")
        yield str(name), (text, reason)


def _model_of(name: str, resolve: Resolve) -> str:
    found = resolve(name)
    if found is None:
        raise BadLineError(f"`{name[:64]}` is no model of the policy")
    return found


def _score_of(value: object) -> float:
    try:
        score = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise BadLineError("a score must be a number in 0..1")
    return score


def _request_of(row: Mapping[str, Any]) -> tuple[Request, str]:
    prompt, messages = row.get("prompt"), row.get("messages")
    if isinstance(prompt, str) and prompt.strip():
        size = len(prompt.encode("utf-8", "replace"))
        return Request("openai_chat", "auto", (Message("user", (Text(prompt),)),), {}, size), prompt
    if messages is None:
        raise BadLineError("needs a `prompt`, a text, or `messages`, a list")
    text = json.dumps(messages, sort_keys=True)
    try:
        return parse_chat({"messages": messages}, len(text)), text
    except RequestError as error:
        raise BadLineError(error.message) from None
