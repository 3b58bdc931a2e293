from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leak_agents import prose
from router.guards.fingerprints import digest as keyed
from router.guards.fingerprints import distance, pieces, simhash

KEY = b"k" * 32


def test_one_word_of_many_moves_few_bits_and_another_text_moves_many() -> None:
    words = prose(random.Random(1), 200).split()
    changed = [*words[:100], "changed", *words[101:]]
    assert distance(simhash(" ".join(words)), simhash(" ".join(changed))) <= 6
    assert distance(simhash(" ".join(words)), simhash(prose(random.Random(2), 200))) > 6


def test_short_texts_have_no_fingerprint() -> None:
    assert simhash("The file was written.") == 0


def test_an_answer_is_found_wherever_it_is_pasted() -> None:
    answer = prose(random.Random(3), 120)
    pasted = f"{prose(random.Random(4), 37)} Your task:\n  {answer}\nDo it. {prose(random.Random(5), 23)}"
    shared = set(pieces(KEY, [answer])) & set(pieces(KEY, [pasted]))
    assert len(shared) >= 2
    assert not set(pieces(KEY, [answer])) & set(pieces(KEY, [prose(random.Random(6), 200)]))


@given(st.lists(st.text(max_size=300), max_size=5))
def test_pieces_are_bounded(texts: list[str]) -> None:
    assert len(pieces(KEY, texts)) <= 128


def test_digests_depend_on_key_parts_and_their_bounds() -> None:
    assert keyed(KEY, "ab", "c") != keyed(KEY, "a", "bc")
    assert keyed(KEY, "ab") != keyed(b"j" * 32, "ab")
    assert keyed(KEY, "\ud800") == keyed(KEY, "?")
