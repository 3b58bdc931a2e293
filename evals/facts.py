"""`python -m evals dataset`: what the outcomes hold, how they are split, and that no twins stand on two sides."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from evals.dataset import load_dataset
from evals.train import splits_sha256
from router.quality.names import ability_key

if TYPE_CHECKING:
    from pathlib import Path

    from evals.dataset import Dataset

SPLITS: Final = ("train", "calibration", "test")
COUNTS: Final = ("prompts", "groups", "categories", "models", "outcomes", *SPLITS)


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """Counts by source and over all, the hashes, and how many groups of twins stand in more than one split."""
    splits, groups, sources = dataset.splits, dataset.groups, dataset.sources
    sides = [set(groups[splits == split]) for split in SPLITS]
    rows = {source: _counts(dataset, sources == source) for source in dict.fromkeys(sources.tolist())}
    of_source = [set(groups[sources == source]) for source in rows]
    return {
        "data_sha256": dataset.data_sha256,
        "splits_sha256": splits_sha256(dataset),
        "sources": rows,
        "all": _counts(dataset, np.ones(len(splits), dtype=bool)),
        "groups_in_several_splits": sum(map(len, sides)) - len(set().union(*sides)),
        "groups_in_several_sources": sum(map(len, of_source)) - len(set().union(*of_source)),
    }


def _counts(dataset: Dataset, inside: Any) -> dict[str, int]:
    known = np.isfinite(dataset.scores[inside])
    answered = known.any(0)
    keys = {ability_key(key) for key, has in zip(dataset.column_model, answered, strict=True) if has}
    splits = dataset.splits[inside]
    return {
        "prompts": int(inside.sum()),
        "groups": len(set(dataset.groups[inside])),
        "categories": len(set(dataset.categories[inside])),
        "models": len(keys),
        "outcomes": int(known.sum()),
        **{split: int((splits == split).sum()) for split in SPLITS},
    }


def show_facts(found: dict[str, Any], console: Console | None = None) -> None:
    """Print the table and the hashes."""
    console = console or Console(width=120)
    table = Table(title="outcomes by source; splits by group of twins")
    table.add_column("source")
    for name in COUNTS:
        table.add_column(name, justify="right")
    for source, row in [*found["sources"].items(), ("all", found["all"])]:
        table.add_row(source, *(f"{row[name]:,}" for name in COUNTS))
    console.print(table)
    console.print(f"data {found['data_sha256']}\nsplits {found['splits_sha256']}")
    console.print(
        f"groups of twins in more than one split: {found['groups_in_several_splits']}; "
        f"in more than one source: {found['groups_in_several_sources']}"
    )


def facts(*, out: Path | None) -> dict[str, Any]:
    """Load, print, write JSON where asked; exit code 1 where twins stand on two sides."""
    found = facts_of(load_dataset())
    show_facts(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if found["groups_in_several_splits"]:
        sys.exit(1)
    return found
