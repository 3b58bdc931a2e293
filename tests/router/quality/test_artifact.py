from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from router.errors import ArtifactError
from router.quality.artifact import ARRAYS, arrays_sha256, load_quality_model

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


def sealed(path: Path, changed: dict[str, np.ndarray], about: dict[str, object]) -> Path:
    """A file that matches its own hash, whatever it holds."""
    raw = json.dumps(about, sort_keys=True).encode()
    digest = arrays_sha256(changed, raw)
    named = {**changed, "about": np.frombuffer(raw, np.uint8), "sha256": np.frombuffer(digest.encode(), np.uint8)}
    return saved(path, named)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [name for name in ARRAYS if arrays()[name].dtype.kind == "f"])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(tmp_path: Path, name: str, value: float) -> None:
    changed = arrays()
    about = json.loads(changed["about"].tobytes())
    changed[name] = changed[name].copy()
    changed[name].flat[0] = value
    path = sealed(tmp_path / "q.npz", changed, about)
    if name == "thresholds" and value == -np.inf:
        model = load_quality_model(path)
        assert model.threshold(model.tolerances[0], f"{model.threshold_sources[0]}:any") == -np.inf
        return
    with pytest.raises(ArtifactError, match=rf"q\.npz: the array '{name}' holds a number that is not finite"):
        load_quality_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_description_with_a_number_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    for spoil in ("support_floor", "ability"):
        changed = arrays()
        about = json.loads(changed["about"].tobytes())
        if spoil == "ability":
            next(iter(about["abilities"].values()))["standard_error"] = value
        else:
            about["support_floor"] = value
        with pytest.raises(ArtifactError, match=rf"{spoil}.* is not a finite number"):
            load_quality_model(sealed(tmp_path / "q.npz", changed, about))


def test_an_array_of_no_numbers_is_refused(tmp_path: Path) -> None:
    changed = arrays()
    about = json.loads(changed["about"].tobytes())
    changed["idf"] = np.array(["0.5"] * len(changed["idf"]))
    with pytest.raises(ArtifactError, match="the array 'idf' holds no numbers"):
        load_quality_model(sealed(tmp_path / "q.npz", changed, about))
