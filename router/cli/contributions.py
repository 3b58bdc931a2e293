"""What moved a prompt's score: each feature is put back to its usual value, each word taken out, and the rest scored.

The difference is what that one thing contributes, all others as they are (occlusion: Zeiler and Fergus, arXiv
1311.2901). Contributions do not add up to the score, since a network is no sum.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT, READ_BYTES_MAX, features_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.features import Features, PromptView
    from router.quality import QualityModel

WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
# Each takes a scoring of its own: a long prompt's rarer words are left out, and no wait is felt.
WORDS_MAX = 200


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much higher the complexity (0..1) and the predicted loss of one model are for this feature's sake.

    ``value`` is the feature's number, for a word how often it occurs.
    """

    feature: str
    value: float
    complexity: float
    predicted_loss: float


def contributions_of(
    view: PromptView, quality: QualityModel, model_keys: Sequence[str], premium_index: int, index: int
) -> tuple[Contribution, ...]:
    """Everything that moved the score at all, what moved most first; ``index`` is the model whose loss is told."""

    def judge(features: Features) -> tuple[float, float]:
        scores = quality.score(features, model_keys)
        return scores.complexity, quality.predicted_loss(scores, premium_index)[index]

    features = features_of(view)
    complexity, loss = judge(features)
    found: list[Contribution] = []
    for name, value, without in (*_structural(features, quality), *_words(view, features)):
        other_complexity, other_loss = judge(without)
        found.append(Contribution(name, value, complexity - other_complexity, loss - other_loss))
    moved = [each for each in found if each.complexity or each.predicted_loss]
    return tuple(sorted(moved, key=lambda each: (-abs(each.complexity) - abs(each.predicted_loss), each.feature)))


def _structural(features: Features, quality: QualityModel) -> Iterator[tuple[str, float, Features]]:
    for at, name in enumerate(FEATURE_NAMES[:NETWORK_FEATURE_COUNT]):
        structure = features.structure.copy()
        structure[at] = quality.center[at]
        yield name, float(features.structure[at]), replace(features, structure=structure)


def _words(view: PromptView, features: Features) -> Iterator[tuple[str, float, Features]]:
    """The prompt without each of its words, for a prompt that is read as it stands."""
    n_words = features.n_words
    text = view.question
    words = [word.lower() for word in WORD.findall(text)]
    if len(text) > READ_BYTES_MAX or len(words) != n_words:
        return
    places: dict[bytes, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    common = sorted(places.items(), key=lambda item: -len(item[1]))[:WORDS_MAX]
    for word, at in common:
        pairs = {n_words + each for each in at} | {n_words + each - 1 for each in at if each > 0}
        gone = [each for each in (*at, *pairs) if each < len(features.hashed)]
        kept = np.delete(features.hashed, gone)
        name = f"word `{word.decode('utf-8', 'replace')}`"
        yield name, float(len(at)), replace(features, hashed=kept, n_words=n_words - len(at))
