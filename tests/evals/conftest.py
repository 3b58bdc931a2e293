from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evals.prepare import Prepared, prepare
from evals.recipe import CHOSEN
from evals.small import small_dataset
from evals.train import train_on

if TYPE_CHECKING:
    from pathlib import Path

    from router.quality import QualityModel

SMALL = replace(CHOSEN, dims=24, members=2, structure_members=1, kind_members=1, hidden=24, epochs=25)


@pytest.fixture(scope="session")
def small() -> Prepared:
    """The project's own made-up data."""
    return prepare(small_dataset(prompts_per_kind=220))


@pytest.fixture(scope="session")
def artifact(small: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "quality.npz"
    train_on(small, out=path, recipe=SMALL)
    return path


@pytest.fixture(scope="session")
def trained(artifact: Path) -> QualityModel:
    from router.quality import load_quality_model

    return load_quality_model(artifact)
