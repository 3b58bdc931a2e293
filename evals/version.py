"""The name under which a fit is kept: the data, the recipe, and every line of code that a fit is made by."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

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
def code_sha256() -> str:
    """The hash over what fits and what it is fitted by: a kept fit of other code is no fit of this one."""
    files = [
        *sorted(_HERE.glob("*.py")),
        Path(str(router.calibration.__file__)),
        *sorted(_folder_of(router.features).glob("*.py")),
        *sorted(_folder_of(router.quality).glob("*.py")),
    ]
    digest = hashlib.sha256()
    for file in files:
        if file.parent != _HERE or file.stem in FITTING:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


# The modules of this package that a fit runs through; those that judge and print it are not among them.
FITTING = frozenset(
    {
        "arrays", "batch", "calibrate", "crossfit", "dataset", "fit", "fitted", "members", "names", "network", "pairs",
        "perturb", "placement", "prepare", "prices", "recipe", "train",
    }
)  # fmt: skip


def fit_name(dataset: Dataset, recipe: Recipe, *parts: object) -> str:
    """Sixteen hex digits: equal where data, recipe, code and the other parts are equal."""
    said = [dataset.data_sha256, repr(recipe), code_sha256(), *map(repr, parts)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
