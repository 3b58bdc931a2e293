from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.cli.contributions import WORDS_MAX, contributions_of
from router.features import PromptView, features_of
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model
from tests.builders import request_of

KEYS = ("anthropic/claude-opus-5-5", "deepinfra/meta-llama/Llama-3.3-70B-Instruct")
QUALITY = load_quality_model()


def view_of(text: str) -> PromptView:
    request = request_of(text)
    return prompt_view_of(request, sizes_of(request))


def judged(text: str) -> tuple[float, float]:
    scores = QUALITY.score(features_of(view_of(text)), KEYS)
    return scores.complexity, QUALITY.predicted_loss(scores, 0)[1]


def test_a_word_contributes_what_its_absence_takes_away() -> None:
    text = "Prove the theorem, then prove the lemma."
    found = {each.feature: each for each in contributions_of(view_of(text), QUALITY, KEYS, 0, 1)}
    word = found["word `prove`"]
    assert word.value == 2
    # The same two words taken out of what was read, the structure as it was.
    features = features_of(view_of(text))
    n_words = features.n_words
    gone = [0, 4, n_words, n_words + 3, n_words + 4]
    without = replace(features, hashed=np.delete(features.hashed, gone), n_words=n_words - 2)
    scores = QUALITY.score(without, KEYS)
    complexity, loss = judged(text)
    assert word.complexity == complexity - scores.complexity
    assert word.predicted_loss == loss - QUALITY.predicted_loss(scores, 0)[1]


def test_what_moved_most_comes_first_and_what_moved_nothing_not_at_all() -> None:
    found = contributions_of(view_of("Write a proof of Fermat's little theorem in Lean 4."), QUALITY, KEYS, 0, 1)
    sizes = [abs(each.complexity) + abs(each.predicted_loss) for each in found]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0
    assert len({each.feature for each in found}) == len(found)
    assert any(each.feature.startswith("word `") for each in found)
    assert any(not each.feature.startswith("word `") for each in found)


def test_premium_has_no_loss_to_explain() -> None:
    assert {each.predicted_loss for each in contributions_of(view_of("Explain TCP."), QUALITY, KEYS, 0, 0)} <= {0.0}


@pytest.mark.parametrize(
    "text", ["", " ", "\0", "é", "?" * 20_000, " ".join(f"w{n}" for n in range(5_000)), "漢字 " * 50]
)
def test_any_text_ends_soon(text: str) -> None:
    found = contributions_of(view_of(text), QUALITY, KEYS, 0, 1)
    assert sum(each.feature.startswith("word `") for each in found) <= WORDS_MAX
