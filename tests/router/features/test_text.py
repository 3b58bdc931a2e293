from __future__ import annotations

import numpy as np
import pytest

from router.features.text import (
    BUCKETS,
    EDGE_BYTES,
    READ_BYTES_MAX,
    SAMPLE_BYTES,
    SAMPLES,
    buckets_of,
    window_of,
    words_of,
)


def words(text: bytes) -> list[int]:
    return words_of(b"\n" + text + b"\n")[0].tolist()


def terms(text: bytes) -> list[int]:
    return buckets_of(words_of(b"\n" + text + b"\n")[0]).tolist()


def test_a_word_hashes_alike_wherever_it_stands() -> None:
    first, second, third = words(b"alpha beta alpha")
    assert first == third != second
    assert words(b"a long text before it, and then: alpha")[-1] == first


def test_case_is_folded_and_a_number_is_its_shape() -> None:
    assert words(b"Alpha BETA") == words(b"alpha beta")
    assert words(b"1984") == words(b"2026") != words(b"984")


def test_every_script_has_words_and_every_mark_parts_them() -> None:
    assert len(words("Größe и мир 世界".encode())) == 4
    assert words(b"alpha,beta;gamma") == words(b"alpha beta gamma")


@pytest.mark.parametrize("text", [b"", b"...", b"\x00\x01\n\t"])
def test_a_text_without_words_has_none(text: bytes) -> None:
    assert words(text) == []
    assert terms(text) == []


def test_terms_are_the_words_and_then_each_pair_in_its_order() -> None:
    assert len(terms(b"one")) == 1
    assert len(terms(b"one two three")) == 5
    assert terms(b"one two")[2] != terms(b"two one")[2]
    assert max(terms(b"one two three")) < BUCKETS


def test_lengths_are_those_of_the_words_in_bytes() -> None:
    _, lengths = words_of("\nUse  foo_bär(42).\n".encode())
    assert lengths.tolist() == [len(word.encode()) for word in ("Use", "foo", "bär", "42")]


def test_a_text_up_to_the_limit_is_read_whole() -> None:
    text = b"x" * READ_BYTES_MAX
    assert window_of(text) is text


@pytest.mark.parametrize("n_bytes", [READ_BYTES_MAX + 1, 20_000, 1_000_000])
def test_a_longer_text_is_read_at_both_ends_and_sampled_between(n_bytes: int) -> None:
    text = bytes(np.random.default_rng(n_bytes).integers(1, 256, n_bytes, dtype=np.uint8))
    read = window_of(text)
    assert len(read) <= READ_BYTES_MAX
    assert read.startswith(text[:EDGE_BYTES])
    assert read.endswith(text[-EDGE_BYTES:])
    between = read[EDGE_BYTES + 1 : -EDGE_BYTES - 1]
    slices = [between[at * (SAMPLE_BYTES + 1) : at * (SAMPLE_BYTES + 1) + SAMPLE_BYTES] for at in range(SAMPLES)]
    places = [text.find(each) for each in slices]
    assert all(place >= 0 for place in places)
    assert places == sorted(places)
