"""``tollgate score``: many prompts at once, as JSONL.

Each line of the input comes out again or is named as ``file:line: why`` on standard error; one bad line stops nothing.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from router.chat import Message, Request, Text
from router.cli.streams import bar_console
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.errors import ConfigError, RequestError
from router.features import features_of
from router.misspelt import meant
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model
from router.server.openai_parse import parse_chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from router.quality import QualityModel

DIGITS = 6


class BadLineError(Exception):
    """A line that holds no prompt; the message says why, without quoting it."""


def score_file(path: str, *, policy: str | None, models: list[str], out: str | None, only_policy: bool = False) -> int:
    """Score every line; returns 0, or 1 where a line could not be read.

    ``quality`` holds the policy's models by their ids and every model that the artifact knows, under each name that its
    origins write; with ``only_policy`` the policy's models and ``models`` alone. Raises BadParameter for a model that
    nothing is known of, and ConfigError where the input or the output cannot be opened.
    """
    settings = load_settings(policy=policy)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    quality = load_quality_model(None)
    names = {name: model.provider_model for name, model in loaded.models.items()}
    require_known(models, quality, names)
    for name in (*models, *([] if only_policy else quality.names)):
        names.setdefault(name, name)
    bad = 0
    with contextlib.ExitStack() as stack:
        source = sys.stdin.buffer if path == "-" else stack.enter_context(_opened(path))
        sink = sys.stdout if out is None else stack.enter_context(_created(out))
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.completed} prompts"))
        progress = stack.enter_context(Progress(*columns, transient=True, console=bar_console()))
        task = progress.add_task("score", total=None)
        for number, line in _lines(source):
            try:
                prompt_id, request = _prompt_of(line)
            except BadLineError as error:
                bad += 1
                console.print(f"{path}:{number}: {error}", markup=False, highlight=False, soft_wrap=True)
                continue
            sink.write(_scored(quality, names, prompt_id, request) + "\n")
            progress.advance(task)
        if bad:
            console.print(f"{bad} of the lines could not be read; every other line was scored", highlight=False)
    return 1 if bad else 0


def require_known(models: Sequence[str], quality: QualityModel, policy: Mapping[str, str]) -> None:
    """Raise BadParameter for a model that neither the policy names nor the artifact can place."""
    others = tuple(name for name in models if name not in policy)
    nothing = Request("openai_chat", "auto", (), {}, 0)
    features = features_of(prompt_view_of(nothing, sizes_of(nothing)))
    for name, placed in zip(others, quality.score(features, others).placement, strict=True):
        if placed.basis == "none":
            hint = meant(name, (*policy, *quality.names))
            raise typer.BadParameter(f"nothing is known of `{name}`{hint}", param_hint="--model")


def _scored(quality: QualityModel, names: dict[str, str], prompt_id: object, request: Request) -> str:
    scores = quality.score(features_of(prompt_view_of(request, sizes_of(request))), tuple(names.values()))
    found = {
        "prompt_id": prompt_id,
        "complexity": round(scores.complexity, DIGITS),
        "quality": {
            name: round(value, DIGITS)
            for name, value, placed in zip(names, scores.quality, scores.placement, strict=True)
            if placed.basis != "none"
        },
    }
    return json.dumps(found, separators=(",", ":"))


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _created(path: str) -> TextIO:
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that hold anything."""
    for number, line in enumerate(source, 1):
        if line.strip():
            yield number, line


def _row_of(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        # What orjson refuses and Python's own reader takes: lone surrogates, which other tools do write.
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise BadLineError("not JSON") from None


def _prompt_of(line: bytes) -> tuple[object, Request]:
    row = _row_of(line)
    if not isinstance(row, dict) or not isinstance(row.get("prompt_id"), str | int):
        raise BadLineError("must be an object with a `prompt_id`, text or a whole number")
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        size = len(prompt.encode("utf-8", "replace"))
        return row["prompt_id"], Request("openai_chat", "auto", (Message("user", (Text(prompt),)),), {}, size)
    if "messages" not in row:
        raise BadLineError("needs a `prompt`, a text, or `messages`, a list")
    try:
        return row["prompt_id"], parse_chat({"messages": row["messages"]}, len(line))
    except RequestError as error:
        raise BadLineError(error.message) from None
