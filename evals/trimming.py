"""What trimming takes from an answer: whether the passages that people found for a question survive it.

The conversations of mtrag_human come with the passages that their answers were written from. Among ``RIVALS`` passages
of other conversations, in any order, they stand in the newest turn as documents; the input is trimmed to shares of
itself by `router.trim`, and what is counted is the share of a conversation's own passages that are still there, and of
conversations that kept them all, with bootstrap 95 % intervals over groups of twins. Beside it what cutting at random
and cutting from the end would have left. Answers themselves cannot be graded here: none is written anew.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.dataset import shared_data_path
from router.chat import Message, Request, Text
from router.chunks import chunks_of
from router.prompt import encode_text
from router.trim import cuts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RIVALS = 20
SHARES = (0.75, 0.5, 0.35, 0.25, 0.15)
RESAMPLES = 1_000
METHODS = ("ours", "random", "end")


def conversations(folder: Path) -> list[dict[str, Any]]:
    """Every conversation with passages: ``documents``, ``messages``, ``dup_group``. Raises FileNotFoundError."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "routing" / "mtrag_human.prompts.parquet").to_pylist()
    found = [{**json.loads(row["prompt"]), "dup_group": row["dup_group"]} for row in rows]
    return [each for each in found if each["documents"]]


def request_of(messages: Sequence[Mapping[str, str]], documents: Sequence[str]) -> Request:
    """The conversation with these documents in its newest turn."""
    told = [Message("user" if each["role"] == "user" else "assistant", (Text(each["content"]),)) for each in messages]
    wrapped = "\n".join(f"<document>{text}</document>" for text in documents)
    asked = messages[-1]["content"]
    return Request("openai_chat", "auto", (*told[:-1], Message("user", (Text(f"{wrapped}\n{asked}"),))), {}, 0)


def survivors(request: Request, share: float, method: str, draw: Random) -> set[int]:
    """Which documents, by number, are left when so great a share of their bytes may stay."""
    chunks = chunks_of(request.messages)
    part = request.messages[-1].parts[0]
    assert isinstance(part, Text)
    sizes = [len(encode_text(part.text[chunk.start : chunk.end])) for chunk in chunks]
    enough = sum(sizes) * (1 - share)
    if method == "ours":
        cuts, _ = cuts_of(request, lambda gone: gone >= enough)
        starts = {cut.start for cut in cuts}
        return {number for number, chunk in enumerate(chunks) if chunk.start not in starts}
    order = list(range(len(chunks)))
    if method == "random":
        draw.shuffle(order)
    gone = 0
    while order and gone < enough:
        gone += sizes[order.pop()]
    return set(order)


def measured(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, dict[str, dict[str, float]]]:
    """By share that stays and method: mean share of own passages kept, and of conversations that kept all."""
    draw = Random(seed)  # noqa: S311  # no secret
    groups = [row["dup_group"] for row in rows]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        f"{share:g}": {method: [] for method in METHODS} for share in SHARES
    }
    for row in rows:
        others = [text for each in rows if each["dup_group"] != row["dup_group"] for text in each["documents"]]
        mixed = [(text, True) for text in row["documents"]]
        mixed += [(text, False) for text in draw.sample(others, min(RIVALS, len(others)))]
        draw.shuffle(mixed)
        request = request_of(row["messages"], [text for text, _ in mixed])
        own = {number for number, (_, is_own) in enumerate(mixed) if is_own}
        for share in SHARES:
            for method in METHODS:
                kept = own & survivors(request, share, method, draw)
                found[f"{share:g}"][method].append((len(kept) / len(own), float(kept == own)))
    return {
        share: {method: figures(np.array(values), groups) for method, values in by_method.items()}
        for share, by_method in found.items()
    }


def figures(values: NDArray[np.float64], groups: Sequence[str]) -> dict[str, float]:
    """Means with their intervals; ``values`` (n, 2)."""
    names = sorted(set(groups))
    members = [np.array([index for index, group in enumerate(groups) if group == name]) for name in names]
    chance = np.random.default_rng(0)
    means = np.array(
        [
            values[np.concatenate([members[at] for at in chance.integers(0, len(names), len(names))])].mean(axis=0)
            for _ in range(RESAMPLES)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    kept, whole = values.mean(axis=0)
    return {
        "kept": float(kept), "kept_low": float(low[0]), "kept_high": float(high[0]),
        "whole": float(whole), "whole_low": float(low[1]), "whole_high": float(high[1]),
    }  # fmt: skip


def trimming(*, out: Path | None = None, say: Callable[[str], None] = print) -> None:
    """Measure, print a table, write JSON."""
    rows = conversations(shared_data_path())
    found = measured(rows)
    say(f"{len(rows)} conversations of mtrag_human, each among {RIVALS} passages of others")
    say("| bytes that stay | own passages kept | all of them kept | cut at random | cut from the end |")
    say("|--:|--:|--:|--:|--:|")
    for share, by_method in found.items():
        ours = by_method["ours"]
        say(
            f"| {float(share):.0%} | {ours['kept']:.1%} ({ours['kept_low']:.1%} .. {ours['kept_high']:.1%}) "
            f"| {ours['whole']:.1%} ({ours['whole_low']:.1%} .. {ours['whole_high']:.1%}) "
            f"| {by_method['random']['kept']:.1%} | {by_method['end']['kept']:.1%} |"
        )
    if out is not None:
        out.write_text(json.dumps({"conversations": len(rows), "rivals": RIVALS, "shares": found}, indent=2) + "\n")
