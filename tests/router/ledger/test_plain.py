from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ledger.fold import kind_of
from router.ledger.plain import parse_line
from router.stores.encoding import decode_line, encode_line
from tests.lines import correction_line, failure_line, feedback_line, intent_line, rejection_line, settlement_line

LATE = replace(correction_line(), late=settlement_line())
LINES = [
    intent_line(),
    intent_line(attempt=2),
    settlement_line(),
    settlement_line(marks=(0.25, -3.0, 0.0)),
    failure_line(),
    rejection_line(),
    correction_line(),
    replace(correction_line(), premium_delta=None),
    LATE,
    feedback_line(),
]


@pytest.mark.parametrize("line", LINES)
def test_line_comes_back_from_its_bytes(line: object) -> None:
    encoded = encode_line(line)
    assert decode_line(encoded.kind, encoded.payload) == line
    assert encoded.line is line


@pytest.mark.parametrize("line", LINES)
def test_bytes_are_the_same_once_more(line: object) -> None:
    assert encode_line(line).payload == encode_line(decode_line(kind_of(line), encode_line(line).payload)).payload


def test_tags_are_the_same_tags_whatever_order_they_came_in() -> None:
    one, other = (encode_line(intent_line(tags=tags)) for tags in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}))
    assert decode_line(one.kind, one.payload) == decode_line(other.kind, other.payload)
    assert one.line_key == other.line_key


def test_fields_of_a_newer_version_are_left_out() -> None:
    plain = orjson.loads(encode_line(settlement_line()).payload)
    assert parse_line("settlement", plain | {"novelty": 1}) == settlement_line()


def test_fields_with_a_default_may_be_missing() -> None:
    plain = orjson.loads(encode_line(correction_line()).payload)
    del plain["late"]
    assert parse_line("correction", plain) == correction_line()


def test_a_settlement_from_before_there_were_marks_has_none() -> None:
    older = orjson.loads(encode_line(settlement_line()).payload)
    del older["marks"]
    assert parse_line("settlement", older) == settlement_line()
    late = orjson.loads(encode_line(LATE).payload)
    del late["late"]["marks"]
    assert parse_line("correction", late) == LATE


BAD_TOKENS = {"tokens": {"cache_read": -1}, "premium_cost": None}
NO_LINES = [
    ("gossip", {}),
    ("intent", {}),
    ("intent", []),
    ("settlement", {"tokens": 5, "premium_cost": None}),
    ("settlement", BAD_TOKENS),
    ("settlement", orjson.loads(encode_line(settlement_line()).payload) | {"marks": ["much"]}),
    ("settlement", orjson.loads(encode_line(settlement_line()).payload) | {"marks": 5}),
    ("feedback", {}),
]


@pytest.mark.parametrize(("kind", "plain"), NO_LINES)
def test_what_is_no_line_is_an_error(kind: str, plain: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_line(kind, plain)


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=3), st.floats() | st.none())
def test_any_text_is_written_and_read_back_alike(session_id: str, tags: dict[str, str], loss: float | None) -> None:
    encoded = encode_line(intent_line(session_id=session_id, tags=tags, expected_loss=loss))
    assert decode_line(encoded.kind, encoded.payload) == encoded.line
    assert b"\\u0000" not in encoded.payload.replace(b"\\\\u0000", b"")


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError):
        encode_line(intent_line(tags={"x": object()}))
