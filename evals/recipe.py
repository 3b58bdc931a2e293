"""The hyper-parameters of training, and those that `python -m evals select` compares by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the model is fitted.

    ``members``: networks that differ by their seed, joined in log-odds; beside them ``structure_members`` see the
    features of structure alone, next to a pull of length of ``length_pull`` log-odds for one standard deviation and
    one unit of ability, which carries over to kinds of prompts whose words are new; ``kind_members`` learn next to
    each kind's mean outcomes. ``structure_weight`` and ``kind_weight`` are a member's weight against one of the first;
    a mean of many is duller than each, so ``sharpness`` stretches it around each model's mean.
    ``dropout`` and ``input_dropout`` are shares of the hidden layer and of the inputs; ``decay`` is on the first two
    layers; ``pair_weight`` weighs the squared error of a pair's gain against the cross-entropy of outcomes;
    ``templates`` and ``noise`` add copies of each prompt inside its benchmark's template, and with casing, white space,
    politeness or typos changed.
    """

    dims: int = 128
    members: int = 3
    structure_members: int = 3
    kind_members: int = 2
    structure_weight: float = 2.0
    kind_weight: float = 1.0
    length_pull: float = 0.25
    sharpness: float = 1.3
    hidden: int = 64
    skills: int = 12
    epochs: int = 40
    batch: int = 512
    rate: float = 2e-3
    decay: float = 1e-3
    dropout: float = 0.5
    input_dropout: float = 0.2
    pair_weight: float = 0.5
    templates: bool = True
    noise: bool = True


CHOSEN: Final = Recipe()
CANDIDATES: Final[dict[str, Recipe]] = {
    "chosen": CHOSEN,
    "no pull of length": replace(CHOSEN, length_pull=0.0),
    "no members inside kinds": replace(CHOSEN, kind_members=0),
    "no structure members": replace(CHOSEN, structure_members=0),
    "six members, no other": replace(CHOSEN, members=6, structure_members=0, kind_members=0),
    "structure members alone": replace(CHOSEN, members=0, kind_members=0),
    "no pair loss": replace(CHOSEN, pair_weight=0.0),
    "pair loss x2": replace(CHOSEN, pair_weight=1.0),
    "hidden 96": replace(CHOSEN, hidden=96),
    "dropout 0.3, none on inputs": replace(CHOSEN, dropout=0.3, input_dropout=0.0),
    "skills 6": replace(CHOSEN, skills=6),
    "epochs 25": replace(CHOSEN, epochs=25),
    "decay x3": replace(CHOSEN, decay=3e-3),
    "dims 64": replace(CHOSEN, dims=64),
    "dims 192": replace(CHOSEN, dims=192),
    "one member of each": replace(CHOSEN, members=1, structure_members=1, kind_members=1),
    "five members of each": replace(CHOSEN, members=5, structure_members=5, kind_members=5),
    "no templates": replace(CHOSEN, templates=False),
    "no noise": replace(CHOSEN, noise=False),
}
