from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from router.errors import ArtifactError
from router.quality.artifact import ARRAYS, load_quality_model

RAW = resources.files("router.artifacts").joinpath("quality.npz").read_bytes()
SIZE_MAX = 1_000_000


def arrays() -> dict[str, np.ndarray]:
    with np.load(Path(str(resources.files("router.artifacts").joinpath("quality.npz")))) as archive:
        return {key: archive[key] for key in archive.files}


def saved(path: Path, changed: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path, **changed)
    return path


def test_the_shipped_file_is_small_and_loads_alike_from_a_path(tmp_path: Path) -> None:
    assert len(RAW) <= SIZE_MAX
    (tmp_path / "q.npz").write_bytes(RAW)
    assert load_quality_model(tmp_path / "q.npz").revision == load_quality_model().revision


@pytest.mark.parametrize("name", ["idf", "thresholds", "hidden_w", "own_slope", "complexity_knots"])
def test_one_changed_number_is_found_out(tmp_path: Path, name: str) -> None:
    changed = arrays()
    changed[name] = changed[name].copy()
    changed[name].flat[-1] += 1
    with pytest.raises(ArtifactError, match=r"q\.npz: does not match its own hash"):
        load_quality_model(saved(tmp_path / "q.npz", changed))


def test_a_changed_description_is_found_out(tmp_path: Path) -> None:
    changed = arrays()
    about = json.loads(changed["about"].tobytes())
    about["support_floor"] = 0.0
    changed["about"] = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    with pytest.raises(ArtifactError, match="does not match its own hash"):
        load_quality_model(saved(tmp_path / "q.npz", changed))


@pytest.mark.parametrize("name", [*ARRAYS, "about", "sha256"])
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    changed = arrays()
    del changed[name]
    with pytest.raises(ArtifactError, match=f"the array '{name}' is missing"):
        load_quality_model(saved(tmp_path / "q.npz", changed))


@pytest.mark.parametrize("raw", [b"", b"not a zip", RAW[:5_000], RAW[:-50]])
def test_a_file_that_was_cut_off_is_no_model(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "q.npz").write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"q\.npz: is no quality model, or was cut off"):
        load_quality_model(tmp_path / "q.npz")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"away\.npz: cannot be read"):
        load_quality_model(tmp_path / "away.npz")
