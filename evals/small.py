"""A small data set of the project's own: made-up prompts whose difficulty is known, and made-up outcomes.

Tests of training and judging run on it in seconds, without the shared data. The sources and models carry the shared
data's names, so that the same pairs and portfolios are judged; nothing here was ever answered by a model.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from evals.dataset import Dataset, Prompt
from evals.names import outcome_key
from evals.pairs import PAIRS
from evals.prices import PORTFOLIOS
from router.features import PromptView

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[np.random.Generator, int], str]

LEVELS: Final = 5
STRONG_ABILITY: Final = 5.0
WEAK_ABILITY: Final = 0.4
ANSWER_CHARS: Final = 300
_PLACES: Final = ("Arbor", "Brine", "Colm", "Dunmere", "Eastlow", "Farrow", "Glint", "Harrow", "Isling", "Jarrow")
_THINGS: Final = ("pears", "lamps", "books", "tiles", "coins", "ropes", "stamps", "shells")


def _sum(rng: np.random.Generator, level: int) -> str:
    numbers = rng.integers(2, 10 ** (1 + level // 2), size=2 + level)
    story = ". ".join(f"Then {number} more {rng.choice(_THINGS)} arrive" for number in numbers)
    return f"A shop in {rng.choice(_PLACES)} opens empty. {story}. How many things are there in all?"


def _logic(rng: np.random.Generator, level: int) -> str:
    clues = [
        f"{a} lives left of {b}" if rng.random() < 0.5 else f"{a} does not live beside {b}"
        for a, b in (rng.choice(_PLACES, 2, replace=False) for _ in range(1 + 2 * level))
    ]
    return "There are houses in a row. Clues:\n- " + "\n- ".join(clues) + "\nWho lives in the first house?"


def _choice(rng: np.random.Generator, level: int) -> str:
    options = "\n".join(f"{letter}. {rng.integers(10**level, 10 ** (level + 1))}" for letter in "ABCD")
    topic = ("village", "river", "treaty", "enzyme", "integral")[level]
    return f"Which of the following is true of the {topic} of {rng.choice(_PLACES)}?\n{options}"


def _chat(rng: np.random.Generator, level: int) -> str:
    wish = ("a short greeting", "an email", "a plan", "a design with its trade-offs", "a proof and a program")[level]
    return f"Please write {wish} about {rng.choice(_THINGS)} in {rng.choice(_PLACES)}."


KINDS: Final[tuple[tuple[str, str, Draw], ...]] = (
    ("zeroeval", "sums", _sum),
    ("zeroeval", "logic", _logic),
    ("mmlu_pro", "choices", _choice),
    ("routellm", "mmlu/choices", _choice),
    ("routellm", "gsm8k", _sum),
    ("arena_hard_v01", "chat", _chat),
)


def small_dataset(*, prompts_per_kind: int = 150, seed: int = 0) -> Dataset:
    """A data set of about ``6 * prompts_per_kind`` prompts; the same for a seed everywhere."""
    rng = np.random.default_rng(seed)
    prompts: list[Prompt] = []
    levels: list[int] = []
    for source, category, draw in KINDS:
        for _ in range(prompts_per_kind):
            level = int(rng.integers(LEVELS))
            text = draw(rng, level)
            digest = hashlib.sha256(f"{source}:{text}".encode()).hexdigest()
            view = PromptView(question=text.encode())
            templated = PromptView(question=f"Answer with care.\n\n## Question\n{text}".encode())
            group = f"{source}-{digest[:12]}"
            prompts.append(Prompt(digest[:20], source, category, group, view, templated, len(text)))
            levels.append(level)
    return _with_outcomes(tuple(prompts), np.array(levels), rng)


def _columns() -> tuple[tuple[str, str], ...]:
    judged = {(pair.source, name) for pair in PAIRS for name in (pair.strong, pair.weak)}
    return tuple(sorted(judged | {(source, name) for source, names in PORTFOLIOS.items() for name in names}))


def _with_outcomes(prompts: tuple[Prompt, ...], levels: np.ndarray, rng: np.random.Generator) -> Dataset:
    columns = _columns()
    strong = {pair.strong for pair in PAIRS}
    ability = np.array([STRONG_ABILITY if name in strong else WEAK_ABILITY for _, name in columns])
    sources = np.array([prompt.source for prompt in prompts])
    chance = 1 / (1 + np.exp(-(ability[None, :] + 1.5 - 1.2 * levels[:, None])))
    scores = (rng.random(chance.shape) < chance).astype(np.float32)
    asked = sources[:, None] == np.array([source for source, _ in columns])[None, :]
    scores = np.where(asked, scores, np.nan).astype(np.float32)
    chars = np.where(asked, ANSWER_CHARS * (1 + levels[:, None]), np.nan).astype(np.float32)
    digest = hashlib.sha256("".join(prompt.id for prompt in prompts).encode() + scores.tobytes())
    return Dataset(
        prompts=prompts,
        columns=columns,
        column_model=tuple(outcome_key(name) for _, name in columns),
        scores=scores,
        response_chars=chars,
        data_sha256=digest.hexdigest(),
    )
