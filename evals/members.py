"""What the model is joined of: networks over all inputs, over structure beside a rule, and inside kinds of task.

Of everything that can be read off a prompt, length alone orders prompts in nearly every source alike: the longer, the
more a weaker model falls behind. A network trusts it too little where it has seen the kind of task, and forgets it
where it has not. So the members that see structure alone learn beside a fixed pull of length on each model, the harder
the weaker the model is; they unlearn it where outcomes say so, and elsewhere it stands. And what tells prompts of one
kind apart is learned by members beside each kind's mean for each model, which is then taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from evals.network import Network, fit_network, joined
from router.features import FEATURE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from evals.network import Outcomes
    from evals.recipe import Recipe

    Floats: TypeAlias = NDArray[np.float32]

LENGTH: Final = FEATURE_NAMES.index("log_bytes")
# Standardised inputs are clipped here, so that a rectified unit behind it passes length on as it is.
CLIP: Final = 4.0
# The ability in log-odds at which length pulls no more.
UNMOVED: Final = 2.5
PULL_MAX: Final = 5.0
# Outcomes that a kind's own mean for a model must outweigh.
KIND_PRIOR: Final = 10.0
# So much more the members of structure count where no model's own outcomes are asked after, but what carries over.
CARRIED: Final = 3.0


def members_of(
    x: Floats,
    outcomes: Outcomes,
    kinds: NDArray[Any],
    recipe: Recipe,
    *,
    dims: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Network, Network]:
    """Fit every member and join them: as one network, and the same with more weight on what carries over.

    ``x`` (n, I): ``dims`` coordinates of words, then structure; ``kinds`` (n) the category of each row.
    """
    networks: list[Network] = []
    weights: list[float] = []
    for member in range(recipe.members):
        networks.append(fit_network(x, outcomes, recipe, seed=recipe.members * seed + member))
        say(f"network {member + 1} of {recipe.members}")
    weights += [1.0] * recipe.members
    pull = pull_of(outcomes, recipe.length_pull)
    structure = x[:, dims:]
    fixed = -structure[:, [LENGTH]] * pull
    for member in range(recipe.structure_members):
        at = recipe.structure_members * seed + member
        alone = pulled(fit_network(structure, outcomes, recipe, seed=at, fixed=fixed), pull, LENGTH)
        networks.append(alone.behind(dims))
        say(f"network {member + 1} of {recipe.structure_members} on structure alone")
    weights += [recipe.structure_weight] * recipe.structure_members
    held = kind_means(outcomes, kinds) if recipe.kind_members else fixed
    for member in range(recipe.kind_members):
        inside = fit_network(x, outcomes, recipe, seed=recipe.kind_members * seed + member, fixed=held)
        networks.append(moved(inside, mean_logits(outcomes)))
        say(f"network {member + 1} of {recipe.kind_members} inside kinds of task")
    weights += [recipe.kind_weight] * recipe.kind_members
    rows = slice(recipe.members, recipe.members + recipe.structure_members)
    carried = list(weights)
    carried[rows] = [CARRIED * each for each in weights[rows]]
    whole, reading = (sharpened(joined(networks, each), x, recipe.sharpness) for each in (weights, carried))
    return whole, reading


def mean_logits(outcomes: Outcomes) -> Floats:
    """Each model's mean outcome in log-odds (M), that of a coin for one without outcomes."""
    known = outcomes.weight > 0
    return _logit((outcomes.target.sum(0) + 1) / (known.sum(0) + 2))


def pull_of(outcomes: Outcomes, strength: float) -> Floats:
    """How far one standard deviation of length pulls each model's log-odds down (M)."""
    return np.asarray(strength * np.clip(UNMOVED - mean_logits(outcomes), 0, PULL_MAX), dtype=np.float32)


def pulled(network: Network, pull: Floats, column: int) -> Network:
    """The network with the pull of one input inside: a rectified unit that passes it on, as one more skill."""
    hidden_w = np.zeros((len(network.hidden_w), 1), dtype=np.float32)
    hidden_w[column] = 1.0
    one = np.float32(CLIP)
    length = Network(
        hidden_w, np.array([one]), np.ones((1, 1), np.float32), np.array([-one]), -pull[:, None], np.zeros_like(pull)
    )
    both = joined([network, length])
    # The two add up where `joined` takes their mean.
    return Network(both.hidden_w, both.hidden_b, both.skill_w, both.skill_b, both.slope * 2, both.offset * 2)


def sharpened(network: Network, x: Floats, by: float) -> Network:
    """The network with each model's log-odds stretched around their mean over the inputs (n, I)."""
    mean = network.logits(x).mean(0)
    offset = mean + np.float32(by) * (network.offset - mean)
    return Network(
        network.hidden_w, network.hidden_b, network.skill_w, network.skill_b,
        network.slope * np.float32(by), np.asarray(offset, dtype=np.float32),
    )  # fmt: skip


def moved(network: Network, by: Floats) -> Network:
    """The network with each model's log-odds moved by a constant."""
    return Network(
        network.hidden_w, network.hidden_b, network.skill_w, network.skill_b, network.slope, network.offset + by
    )


def kind_means(outcomes: Outcomes, kinds: NDArray[Any]) -> Floats:
    """Each row's kind's mean outcome for each model in log-odds (n, M), shrunk to what the model and the kind say."""
    _, member = np.unique(kinds, return_inverse=True)
    count = int(member.max()) + 1
    known = (outcomes.weight > 0).astype(np.float32)
    overall = (outcomes.target.sum(0) + 1) / (known.sum(0) + 2)
    hits, asked = np.zeros((count, known.shape[1])), np.zeros((count, known.shape[1]))
    np.add.at(hits, member, outcomes.target)
    np.add.at(asked, member, known)
    easier = (hits - asked * overall).sum(1) / np.maximum(asked.sum(1), 1)
    prior = np.clip(overall + easier[:, None], 0.03, 0.97)
    return _logit((hits + KIND_PRIOR * prior) / (asked + KIND_PRIOR))[member]


def _logit(share: Any) -> Floats:
    inside = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(inside / (1 - inside)), dtype=np.float32)
