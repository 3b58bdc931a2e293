"""`python -m evals machines`: are scores and decisions the same on other processors, threads and versions of numpy?

Each setting is a process of its own that scores the same prompts, one at a time, as the gateway does. OpenBLAS and
numpy choose code by the processor; both let it be passed off as an older one, so that one machine stands for many.
Only this module, the router and numpy are loaded there, so that any interpreter with numpy can be asked.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from router.features import PromptView

PROMPTS: Final = 3000
SEED: Final = 5
TOLERANCES: Final = (0.01, 0.02, 0.05, 0.10, 0.15)
# The first of each set is premium. The models of the default policy, and of each source that was judged.
SETS: Final = (
    (
        "anthropic/claude-opus-5-5", "deepinfra/meta-llama/Meta-Llama-3.1-8B-Instruct",
        "deepinfra/meta-llama/Llama-3.3-70B-Instruct", "anthropic/claude-haiku-5-5", "gemini/gemini-3.8-flash",
        "anthropic/claude-sonnet-5-5",
    ),
    (
        "claude-3-5-sonnet-20241022", "Meta-Llama-3.1-8B-Instruct", "gemini-1.5-flash", "claude-3-5-haiku-20241022",
        "gemini-1.5-pro", "Llama-3.1-405B-Inst-fp8@together",
    ),
    ("gemini-1.5-pro-002", "Meta-Llama-3_1-8B-Instruct", "gemini-1.5-flash-002", "Meta-Llama-3_1-70B-Instruct"),
    ("gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
)  # fmt: skip
# By name, what the environment passes the processor off as. The first is what the others are compared with.
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "as it is": {},
    "two threads": {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    "OpenBLAS for Zen": {"OPENBLAS_CORETYPE": "Zen"},
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS for Skylake-X": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "OpenBLAS for Sandy Bridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "OpenBLAS for Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "numpy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"},
    "numpy without AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
    "Haswell throughout": {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"},
    "Nehalem throughout": {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
}
THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Said:
    """What one process said: ``scores`` (prompts, models of all sets) and ``chosen`` (prompts, sets x tolerances)."""

    scores: Any
    chosen: Any
    about: str


def scored(views: Iterable[PromptView]) -> tuple[Any, Any]:
    """Expected quality, and by set and tolerance the place of the first model within the threshold, 0 for premium."""
    from router.features import features_of

    model = load_quality_model()
    scores, chosen = [], []
    for view in views:
        features = features_of(view)
        row: list[float] = []
        decided: list[int] = []
        for names in SETS:
            one = model.score(features, names)
            losses = model.predicted_loss(one, 0)
            row += [one.complexity, *one.quality]
            for tolerance in TOLERANCES:
                limit = model.threshold(tolerance, one.kind) if one.has_ground else float("-inf")
                within = [at for at in range(1, len(names)) if losses[at] <= limit]
                decided.append(within[0] if within else 0)
        scores.append(row)
        chosen.append(decided)
    return np.array(scores), np.array(chosen)


def ask(views: Path, python: str, settings: Mapping[str, str]) -> Said:
    """Score the pickled prompts in a process of its own. Raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "said.npz"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "OMP", "NPY"))}
        root = str(Path(__file__).resolve().parent.parent)
        subprocess.run(  # noqa: S603 (this module, by an interpreter that the caller named)
            [python, "-m", "evals.machines", str(views), str(out)],
            check=True, cwd=root, env=kept | THREADS | dict(settings) | {"PYTHONPATH": root},
        )  # fmt: skip
        with np.load(out) as said:
            return Said(said["scores"], said["chosen"], str(said["about"]))


def compared(first: Said, other: Said) -> dict[str, Any]:
    """Share of decisions that are the same, how many are not, and the largest difference of a score."""
    return {
        "about": other.about,
        "decisions": int(first.chosen.size),
        "changed": int((first.chosen != other.chosen).sum()),
        "same": float((first.chosen == other.chosen).mean()),
        "largest_difference": float(np.abs(first.scores - other.scores).max()),
    }


def machines_on(
    views: Sequence[PromptView], *, pythons: Sequence[str] = (), say: Callable[[str], None] = lambda _: None
) -> dict[str, dict[str, Any]]:
    """By setting, what `compared` finds; ``pythons`` are other interpreters, asked as they are."""
    asked = [(name, sys.executable, settings) for name, settings in SETTINGS.items()]
    asked += [(f"interpreter {at}", python, {}) for at, python in enumerate(pythons, 1)]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.pickle"
        path.write_bytes(pickle.dumps(list(views)))
        first = ask(path, sys.executable, {})
        for name, python, settings in asked:
            row = found[name] = compared(first, ask(path, python, settings))
            say(
                f"{name} ({row['about']}): {row['changed']} of {row['decisions']} decisions changed, "
                f"scores differ by at most {row['largest_difference']:.1e}"
            )
    return found


def machines(*, out: Path | None = None, pythons: Sequence[str] = ()) -> dict[str, Any]:
    """Draw prompts of every source and split, ask every setting, print, and write JSON where asked."""
    import json

    from evals.dataset import load_dataset

    prompts = load_dataset().prompts
    drawn = np.random.default_rng(SEED).choice(len(prompts), min(PROMPTS, len(prompts)), replace=False)
    rows = machines_on([prompts[at].view for at in drawn], pythons=pythons, say=print)
    found = {"model_revision": load_quality_model().revision, "prompts": len(drawn), "settings": rows}
    if out is not None:
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found


def _answer(views: Path, out: Path) -> None:
    scores, chosen = scored(pickle.loads(views.read_bytes()))  # noqa: S301 (written by `machines_on` a moment ago)
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}, numpy {np.__version__}"
    np.savez(out, scores=scores, chosen=chosen, about=np.array(version))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), Path(sys.argv[2]))
