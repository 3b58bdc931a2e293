from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.lineage import LIFE_S, SKEW_S, TICKET_CHARS_MAX, Ticket, opened, seal

SALT, OTHER_SALT = b"s" * 32, b"t" * 32
NOW_MS = 1_800_000_000_000
TICKET = Ticket(root=2**63 + 5, node=7, depth=3, issued_s=NOW_MS // 1000)


def test_a_ticket_comes_back_as_it_was_sealed() -> None:
    text = seal(TICKET, "team:search", SALT)
    assert opened(text, "team:search", SALT, NOW_MS) == TICKET
    assert len(text) <= TICKET_CHARS_MAX


@pytest.mark.parametrize(
    ("owner", "salt", "now_ms"),
    [
        ("team:other", SALT, NOW_MS),
        ("key:search", SALT, NOW_MS),
        ("team:search", OTHER_SALT, NOW_MS),
        ("team:search", SALT, NOW_MS + (LIFE_S + 1) * 1000),
        ("team:search", SALT, NOW_MS - (SKEW_S + 1) * 1000),
    ],
)
def test_what_is_not_ours_not_theirs_or_out_of_date_opens_to_nothing(owner: str, salt: bytes, now_ms: int) -> None:
    assert opened(seal(TICKET, "team:search", SALT), owner, salt, now_ms) is None


@given(st.data())
def test_no_change_of_any_character_is_believed(data: st.DataObject) -> None:
    text = seal(TICKET, "team:a", SALT)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda each: each != text[at]))
    assert opened(text[:at] + other + text[at + 1 :], "team:a", SALT, NOW_MS) is None


@given(st.integers(0, TICKET_CHARS_MAX))
def test_no_part_of_a_ticket_is_one(length: int) -> None:
    text = seal(TICKET, "team:a", SALT)
    if length < len(text):
        assert opened(text[:length], "team:a", SALT, NOW_MS) is None


@given(st.text(max_size=200) | st.none())
def test_no_text_is_a_ticket_and_none_crashes(text: str | None) -> None:
    assert opened(text, "team:a", SALT, NOW_MS) is None


def test_a_megabyte_is_refused_without_being_read() -> None:
    text = "t1." + "A" * 1_000_000
    started = time.process_time()
    for _ in range(1_000):
        assert opened(text, "team:a", SALT, NOW_MS) is None
    assert time.process_time() - started < 1.0  # a thousand times: decoding or hashing it would take seconds


def test_depth_saturates() -> None:
    deep = Ticket(1, 2, 10**9, NOW_MS // 1000)
    found = opened(seal(deep, "k", SALT), "k", SALT, NOW_MS)
    assert found is not None
    assert found.depth == 65_535
