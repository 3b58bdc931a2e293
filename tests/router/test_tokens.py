from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.tokens import TokenUsage, Usage, input_tokens_ceiling

counts = st.integers(min_value=0, max_value=10**9)
usages = st.builds(TokenUsage, counts, counts, counts, counts, counts, counts)
BUCKETS = tuple(field.name for field in fields(TokenUsage))


@given(usages)
def test_every_token_is_in_exactly_one_bucket(usage: TokenUsage) -> None:
    assert usage.total_tokens == sum(getattr(usage, bucket) for bucket in BUCKETS)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_cache_reads_and_writes_are_input_and_reasoning_is_output() -> None:
    usage = TokenUsage(1, 20, 300, 4_000, 50_000, 600_000)
    assert usage.input_tokens == 4_321
    assert usage.output_tokens == 650_000


@given(usages, usages)
def test_a_sum_adds_bucket_by_bucket(one: TokenUsage, other: TokenUsage) -> None:
    total = one + other
    assert all(getattr(total, bucket) == getattr(one, bucket) + getattr(other, bucket) for bucket in BUCKETS)
    assert total == other + one


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_negative_count_is_a_programmers_error(bucket: str) -> None:
    with pytest.raises(AssertionError):
        replace(TokenUsage(), **{bucket: -1})


def test_usage_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TokenUsage().output_text = 1  # type: ignore[misc]


def test_usage_is_reported_unless_said_otherwise() -> None:
    assert Usage(TokenUsage()).source == "reported"
    assert Usage(TokenUsage(), "estimated").source == "estimated"


@given(st.text(max_size=500), st.integers(min_value=1, max_value=50))
def test_the_ceiling_covers_a_token_for_each_byte(text: str, messages: int) -> None:
    n_bytes = len(text.encode("utf-8", "surrogatepass"))
    assert input_tokens_ceiling(n_bytes, messages) > n_bytes + messages
    assert input_tokens_ceiling(n_bytes + 1, messages) > input_tokens_ceiling(n_bytes, messages)
    assert input_tokens_ceiling(n_bytes, messages + 1) > input_tokens_ceiling(n_bytes, messages)
