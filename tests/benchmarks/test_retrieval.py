"""The retrieval case: queries as they are described, and what each way of sending them costs."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.retrieval import CHUNKS, SHARED, WAYS, interval_of, is_kept, messages_of, queries_of, sent


def test_queries_share_three_fifths_and_hold_their_fact_once() -> None:
    one, two = queries_of(2, seed=3)
    assert len(one.chunks) == CHUNKS
    assert len(set(one.chunks) & set(two.chunks)) == SHARED
    assert one.question != two.question
    for query in (one, two):
        assert sum(query.fact in chunk for chunk in query.chunks) == 1
        plain, marked = (messages_of(query, is_cached=cached)[1]["content"] for cached in (False, True))
        assert isinstance(marked, list)
        assert sorted("\n".join(part["text"] for part in marked).split("\n")) == sorted(str(plain).split("\n"))


def test_a_fact_that_was_cut_is_not_kept() -> None:
    (query,) = queries_of(1, seed=3)
    at = str(messages_of(query, is_cached=False)[1]["content"]).index(query.fact)
    cut = {"message": 1, "part": 0, "start": at - 5, "end": at + 5, "why": "least_relevant"}
    assert is_kept(query, {"receipt": {}})
    assert not is_kept(query, {"receipt": {"trim": {"cuts": [cut]}}})
    assert is_kept(query, {"receipt": {"trim": {"cuts": [{**cut, "start": at + 1, "end": at + 9}]}}})


def test_an_interval_is_wide_for_few() -> None:
    few, many = interval_of([True] * 10), interval_of([True] * 1_000)
    assert few["low"] < 0.75
    assert 0.99 < many["low"] < many["high"] <= 1.0
    assert interval_of([True, False])["low"] < 0.5 < interval_of([True, False])["high"]


@pytest.mark.parametrize("way", [way for way in WAYS if way.name in ("cached", "trimmed")], ids=lambda way: way.name)
def test_a_way_is_paid_as_the_vendors_bill_it(way: object) -> None:
    arguments = argparse.Namespace(seed=5, tier="balanced", input_tokens_max=12_000)
    row = sent(way, queries_of(5, seed=5), arguments)  # type: ignore[arg-type]
    assert row["books_agree"]
    assert row["models"] == {"claude-opus": 5}
    if row["way"] == "cached":
        assert row["cached_tokens"] > 0.4 * row["input_tokens"]
    else:
        assert row["input_tokens"] < 13_000
        assert row["kept"]["share"] == 1.0
        assert row["chunks_cut"] > 40
