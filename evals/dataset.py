"""Outcomes as matrices: who answered which prompt how well, split so that twins never stand on both sides."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from evals.names import outcome_key
from router.features import PromptView

if TYPE_CHECKING:
    from numpy.typing import NDArray

Split: TypeAlias = Literal["train", "calibration", "test"]
SOURCES: Final = (
    "zeroeval",
    "mmlu_pro",
    "routellm",
    "llmrouter",
    "arena_hard_v01",
    "arena_bench_v1",
    "mtrag_human",
)
_SPLIT_SEED: Final = "tollgate-split-1"
_SPLIT_TRAIN: Final = 60
_SPLIT_CALIBRATION: Final = 80


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: what is scored (``view``), the same inside its benchmark's template, and what it belongs to."""

    id: str
    source: str
    category: str
    group: str
    view: PromptView
    templated: PromptView | None
    chars: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """``scores`` and ``response_chars`` are prompts x columns, NaN where unknown.

    A column is a (source, model as its origin writes it); ``column_model`` is the key that columns of one model share.
    """

    prompts: tuple[Prompt, ...]
    columns: tuple[tuple[str, str], ...]
    column_model: tuple[str, ...]
    scores: NDArray[np.float32]
    response_chars: NDArray[np.float32]
    data_sha256: str

    @property
    def sources(self) -> NDArray[np.str_]:
        """Source of each prompt."""
        return np.array([prompt.source for prompt in self.prompts])

    @property
    def categories(self) -> NDArray[np.str_]:
        """Category of each prompt, within its source."""
        return np.array([f"{prompt.source}:{prompt.category}" for prompt in self.prompts])

    @property
    def groups(self) -> NDArray[np.str_]:
        """Twins' group of each prompt."""
        return np.array([prompt.group for prompt in self.prompts])

    @property
    def splits(self) -> NDArray[np.str_]:
        """Split of each prompt, by its group."""
        return np.array([split_of(prompt.group) for prompt in self.prompts])

    def column(self, source: str, model: str) -> NDArray[np.float32]:
        """Scores of one column, one a prompt; raises ValueError where there is none."""
        return self.scores[:, self.columns.index((source, model))]

    def only(self, keep: NDArray[np.bool_]) -> Dataset:
        """The prompts that a mask keeps, with every column."""
        return Dataset(
            prompts=tuple(prompt for prompt, kept in zip(self.prompts, keep, strict=True) if kept),
            columns=self.columns,
            column_model=self.column_model,
            scores=self.scores[keep],
            response_chars=self.response_chars[keep],
            data_sha256=self.data_sha256,
        )


def split_of(group: str) -> Split:
    """60 / 20 / 20 by a hash of the twins' group, the same everywhere and for ever."""
    digest = hashlib.sha256(f"{_SPLIT_SEED}:{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") % 100
    if place < _SPLIT_TRAIN:
        return "train"
    return "calibration" if place < _SPLIT_CALIBRATION else "test"


def shared_data_path() -> Path:
    """Where the research data lies: `TOLLGATE_SHARED_DATA`, or `../shared/data` beside the repository."""
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    return Path(os.environ.get("TOLLGATE_SHARED_DATA", default))


def load_dataset(*, shared: Path | None = None) -> Dataset:
    """The shared outcomes, from `TOLLGATE_SHARED_DATA`. Raises FileNotFoundError where there are none."""
    folder = (shared or shared_data_path()) / "routing"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no shared outcomes there: set TOLLGATE_SHARED_DATA")
    return _load_shared(folder)


def _load_shared(folder: Path) -> Dataset:
    import pandas as pd

    prompts: list[Prompt] = []
    row_of: dict[tuple[str, str], int] = {}
    sha = hashlib.sha256()
    for source in SOURCES:
        path = folder / f"{source}.prompts.parquet"
        sha.update(path.read_bytes())
        for record in pd.read_parquet(path).to_dict("records"):
            row_of[source, record["prompt_id"]] = len(prompts)
            prompts.append(_prompt_of({str(name): value for name, value in record.items()}))
    frames = []
    for source in SOURCES:
        path = folder / f"{source}.scores.parquet"
        sha.update(path.read_bytes())
        frame = pd.read_parquet(path, columns=["prompt_id", "model", "score", "response_chars"])
        frame["source"] = source
        frame["model"] = frame["model"].astype(str)
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table["row"] = [row_of[key] for key in zip(table["source"], table["prompt_id"], strict=True)]
    columns = tuple(sorted(set(zip(table["source"], table["model"], strict=True))))
    place = {column: index for index, column in enumerate(columns)}
    at = np.array([place[key] for key in zip(table["source"], table["model"], strict=True)])
    scores = np.full((len(prompts), len(columns)), np.nan, dtype=np.float32)
    chars = scores.copy()
    scores[table["row"], at] = table["score"]
    chars[table["row"], at] = table["response_chars"]
    return Dataset(
        prompts=tuple(prompts),
        columns=columns,
        column_model=tuple(outcome_key(model) for _, model in columns),
        scores=scores,
        response_chars=chars,
        data_sha256=sha.hexdigest(),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _message_text(message: dict[str, Any] | str) -> str:
    if isinstance(message, str):
        return message
    return str(message.get("text", message.get("content", "")))


def _prompt_of(record: dict[str, Any]) -> Prompt:
    text = record["prompt"]
    view = PromptView(question=_bytes(text))
    templated = None
    if record["prompt_format"] == "user_turns_json":
        turns = [_message_text(turn) for turn in json.loads(text)]
        view = PromptView(
            question=_bytes(turns[-1]), history=_bytes("\n".join(turns[:-1])), n_turns=len(turns), n_messages=len(turns)
        )
    elif record["prompt_format"] == "rag_chat_json":
        view = _rag_view(json.loads(text))
    elif isinstance(record["question"], str) and record["question"]:
        templated, view = view, PromptView(question=_bytes(record["question"]))
    return Prompt(
        id=record["prompt_id"],
        source=record["source"],
        category=record["category"],
        group=record["dup_group"],
        view=view,
        templated=templated,
        chars=int(record["prompt_chars"]),
    )


def _rag_view(chat: dict[str, Any]) -> PromptView:
    messages = chat["messages"]
    texts = [_message_text(message) for message in messages]
    documents = "\n".join(_message_text(document) for document in chat["documents"])
    return PromptView(
        question=_bytes(texts[-1]),
        system=_bytes(documents),
        history=_bytes("\n".join(texts[:-1])),
        n_turns=(len(texts) + 1) // 2,
        n_messages=len(texts),
        input_bytes=len(documents) + sum(map(len, texts)),
    )
