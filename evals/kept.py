"""Fits kept between runs, so that a run that was stopped goes on where it was: named arrays, no pickle."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Kept = TypeVar("Kept")


def cache_folder() -> Path:
    """Where fits are kept between commands."""
    return Path(tempfile.gettempdir()) / "tollgate-evals"


def keep(path: Path, value: Any) -> None:
    """Write a dataclass of arrays and of such dataclasses; a run that dies meanwhile leaves no half file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    np.savez(part, **_arrays_of(value))
    part.replace(path)


def kept(path: Path, kind: type[Kept]) -> Kept | None:
    """What was kept there as a ``kind``, None where nothing was or it cannot be read."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found: Kept = _filled(kind, dict(archive))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found


def _arrays_of(value: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(value):
        each = getattr(value, field.name)
        if is_dataclass(each):
            found |= _arrays_of(each, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = np.asarray(each)
    return found


def _filled(kind: Any, arrays: dict[str, Any], prefix: str = "") -> Any:
    inner = _inner_of(kind)
    return kind(
        **{
            field.name: _filled(inner[field.name], arrays, f"{prefix}{field.name}.")
            if field.name in inner
            else arrays[prefix + field.name]
            for field in fields(kind)
        }
    )


def _inner_of(kind: Any) -> dict[str, Any]:
    """The fields that are dataclasses themselves, by the names that their types have in the module."""
    known = vars(sys.modules[kind.__module__])
    return {each.name: known[str(each.type)] for each in fields(kind) if is_dataclass(known.get(str(each.type)))}
