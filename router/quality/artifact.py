"""Reads the quality model's file: named arrays without pickle, bound to a hash of all of them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from importlib import resources
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from router.errors import ArtifactError
from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT
from router.quality.model import Ability, Placement, QualityModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 3
ARRAYS = (
    "buckets", "idf", "basis", "basis_scale", "center", "spread", "hidden_w", "hidden_b", "skill_w", "skill_b",
    "slope", "offset", "length_w", "thresholds", "tolerances", "complexity_knots", "reference_slope",
    "reference_offset", "kind_centers", "own_slope", "own_offset",
)  # fmt: skip


def arrays_sha256(arrays: Mapping[str, NDArray[np.generic]], about: bytes) -> str:
    """The hash over every array's name, type, shape and bytes, and over the description."""
    digest = hashlib.sha256(about)
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def load_quality_model(path: Path | None = None) -> QualityModel:
    """The shipped model, or the one at ``path``. Raises ArtifactError naming the file and what is wrong with it."""
    if path is None:
        name, raw = "quality.npz", resources.files("router.artifacts").joinpath("quality.npz").read_bytes()
    else:
        name = str(path)
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{name}: cannot be read: {error.strerror}") from error
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{name}: is no quality model, or was cut off") from error
    missing = [key for key in (*ARRAYS, "about", "sha256") if key not in arrays]
    if missing:
        raise ArtifactError(f"{name}: the array {missing[0]!r} is missing")
    about = arrays["about"].tobytes()
    digest = arrays_sha256(arrays, about)
    if digest != arrays["sha256"].tobytes().decode("ascii", "replace"):
        raise ArtifactError(f"{name}: does not match its own hash: it was changed or damaged")
    _refuse_what_is_not_finite(name, arrays)
    return _model_of(name, arrays, json.loads(about), digest)


def _refuse_what_is_not_finite(name: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Every number is finite, but for thresholds: minus infinity there is premium alone."""
    for key in ARRAYS:
        array = arrays[key]
        if array.dtype.kind not in "fiu":
            raise ArtifactError(f"{name}: the array {key!r} holds no numbers: train it again")
        is_sound = np.isfinite(array)
        if key == "thresholds":
            is_sound |= array == -np.inf
        if not is_sound.all():
            raise ArtifactError(f"{name}: the array {key!r} holds a number that is not finite: train it again")


def _numbers_of(abilities: Mapping[str, Ability]) -> list[tuple[str, float]]:
    return [(f"ability of {key}", value) for key, one in abilities.items() for value in (one.value, one.standard_error)]


def _model_of(
    name: str, arrays: Mapping[str, NDArray[np.generic]], about: dict[str, object], digest: str
) -> QualityModel:
    if about.get("format") != FORMAT or about.get("features") != list(FEATURE_NAMES[:NETWORK_FEATURE_COUNT]):
        raise ArtifactError(f"{name}: was made for another version of the features: train it again")
    placed = about["abilities"]
    assert isinstance(placed, dict)
    abilities = {
        key: Ability(row["value"], row["standard_error"], Placement(row["basis"], tuple(row["sources"])))
        for key, row in placed.items()
    }
    kinds, names, own, sources = (about[key] for key in ("kinds", "names", "own_models", "threshold_sources"))
    assert isinstance(kinds, list)
    assert isinstance(names, list)
    assert isinstance(own, list)
    assert isinstance(sources, list)
    aliases = about["aliases"]
    assert isinstance(aliases, dict)
    floor = about["support_floor"]
    assert isinstance(floor, float)
    for key, value in (("support_floor", floor), *_numbers_of(abilities)):
        if not isfinite(value):
            raise ArtifactError(f"{name}: {key} is not a finite number: train it again")
    return QualityModel(
        revision=digest[:16],
        support_floor=floor,
        kinds=tuple(kinds),
        abilities=abilities,
        own_rows={str(key): row for row, key in enumerate(own)},
        aliases=aliases,
        names=tuple(names),
        threshold_sources=tuple(sources),
        **{key: arrays[key] for key in ARRAYS},  # type: ignore[arg-type]
    )
