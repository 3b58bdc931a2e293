"""The name under which a fit is kept: the data, the recipe, and every line of code that a fit is made by."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import router.calibration
import router.features
import router.quality

if TYPE_CHECKING:
    from types import ModuleType

    from evals.dataset import Dataset
    from evals.recipe import Recipe

_HERE = Path(__file__).parent


def _folder_of(module: ModuleType) -> Path:
    return Path(str(module.__file__)).parent


@cache
def code_sha256(modules: frozenset[str] | None = None) -> str:
    """The hash over what fits and what it is fitted by: a kept fit of other code is no fit of this one.

    ``modules``: of this package only these, without them all of `FITTING`.
    """
    modules = FITTING if modules is None else modules
    files = [
        *sorted(_HERE.glob("*.py")),
        Path(str(router.calibration.__file__)),
        *sorted(_folder_of(router.features).glob("*.py")),
        *sorted(_folder_of(router.quality).glob("*.py")),
    ]
    digest = hashlib.sha256()
    for file in files:
        if file.parent != _HERE or file.stem in modules:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


# The modules of this package that networks are fitted by.
NETWORKS = frozenset(
    {
        "dataset", "fit", "fitted", "kept", "members", "names", "network", "pairs", "perturb", "prepare", "recipe",
        "version",
    }
)  # fmt: skip
# Those that a whole model is made by; what judges and prints it is not among them.
FITTING = NETWORKS | {"arrays", "batch", "calibrate", "crossfit", "placement", "prices", "train"}


def fit_name(dataset: Dataset, recipe: Recipe, *parts: object) -> str:
    """Sixteen hex digits: equal where data, recipe, code and the other parts are equal."""
    return _name_of(dataset.data_sha256, repr(recipe), code_sha256(), *map(repr, parts))


def networks_name(dataset: Dataset, rows: Any, recipe: Recipe, seed: int) -> str:
    """The same for networks alone, over the prompts at ``rows``: how they are calibrated and placed is not in it."""
    seen = hashlib.sha256(np.asarray(rows, dtype="<i8").tobytes()).hexdigest()
    return _name_of(dataset.data_sha256, repr(recipe), code_sha256(NETWORKS), np.__version__, seen, str(seed))


def _name_of(*said: str) -> str:
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
