"""``tollgate score``: many prompts at once, as JSONL."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from router.chat import Message, Request, Text
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.errors import ConfigError, RequestError
from router.features import features_of
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model
from router.server.openai_parse import parse_chat

if TYPE_CHECKING:
    from collections.abc import Iterator


def score_file(path: str, *, policy: str | None, models: list[str], out: str | None) -> int:
    """Score every line. Raises ConfigError naming the line that cannot be read; returns 0."""
    settings = load_settings(policy=policy)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    quality = load_quality_model(None)
    keys = {name: model.provider_model for name, model in loaded.models.items()}
    keys |= {name: name for name in (*quality.models, *models) if name not in keys}
    with contextlib.ExitStack() as stack:
        source = sys.stdin if path == "-" else stack.enter_context(_opened(path))
        sink = stack.enter_context(Path(out).open("w", encoding="utf-8")) if out is not None else sys.stdout
        progress = stack.enter_context(
            Progress(SpinnerColumn(), TextColumn("{task.completed} prompts"), transient=True, console=_stderr())
        )
        task = progress.add_task("score", total=None)
        for prompt_id, request in _requests(source, path):
            features = features_of(prompt_view_of(request, sizes_of(request)))
            scores = quality.score(features, tuple(keys.values()))
            found = {
                "prompt_id": prompt_id,
                "complexity": scores.complexity,
                "quality": {
                    name: value
                    for name, value, placed in zip(keys, scores.quality, scores.placement, strict=True)
                    if placed.basis != "none"
                },
            }
            sink.write(orjson.dumps(found).decode() + "\n")
            progress.advance(task)
    return 0


def _opened(path: str) -> TextIO:
    try:
        return Path(path).open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _stderr() -> Console:

    return Console(stderr=True)


def _requests(source: TextIO, path: str) -> Iterator[tuple[object, Request]]:
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise ConfigError(f"{path}:{number}: not JSON") from None
        if not isinstance(row, dict) or "prompt_id" not in row:
            raise ConfigError(f"{path}:{number}: must be an object with a prompt_id")
        prompt = row.get("prompt")
        if isinstance(prompt, str):
            size = len(prompt.encode("utf-8", "replace"))
            message = Message("user", (Text(prompt),))
            yield row["prompt_id"], Request("openai_chat", "auto", (message,), {}, size)
            continue
        try:
            yield row["prompt_id"], parse_chat({"messages": row.get("messages")}, len(line))
        except RequestError as error:
            raise ConfigError(f"{path}:{number}: {error.message} (or give a `prompt`)") from None
