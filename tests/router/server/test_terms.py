"""Headers and metadata: what is asked of the routing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import RequestError
from router.policy import Terms
from router.server.terms import headers_of_scope, parse_terms
from tests.router.server.fakes import SALT


def terms(metadata: object = None, **headers: str) -> Terms:
    return parse_terms({name.replace("_", "-"): value for name, value in headers.items()}, metadata, SALT)


def test_nothing_said_is_nothing_asked() -> None:
    assert terms() == Terms()


@pytest.mark.parametrize(
    "value",
    ["7", "-0.1", "abc", "", " ", "nan", "NaN", "inf", "1e999", "0x1", "0_1", "\u0660", "1.0001", "+", "."],
)
def test_a_tolerance_that_is_none_is_refused_and_never_clamped(value: str) -> None:
    with pytest.raises(RequestError) as by_header:
        terms(x_quality_tolerance=value)
    assert (by_header.value.code, by_header.value.param) == ("invalid_quality_tolerance", "x-quality-tolerance")
    with pytest.raises(RequestError) as by_body:
        terms({"quality_tolerance": value})
    assert by_body.value.param == "metadata.quality_tolerance"
    assert by_body.value.code == "invalid_quality_tolerance"


@pytest.mark.parametrize("value", [True, [], {}, -1, 1.5, 2])
def test_a_tolerance_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(RequestError) as refused:
        terms({"quality_tolerance": value})
    assert refused.value.code == "invalid_quality_tolerance"


@pytest.mark.parametrize(("value", "number"), [("0", 0.0), ("1", 1.0), ("0.05", 0.05), ("5e-2", 0.05), (".5", 0.5)])
def test_a_tolerance_is_read_exactly(value: str, number: float) -> None:
    assert terms(x_quality_tolerance=value).tolerance == number
    assert terms({"quality_tolerance": number}).tolerance == number


@given(st.floats(0, 1))
def test_any_tolerance_survives_its_text(number: float) -> None:
    assert terms(x_quality_tolerance=repr(number)).tolerance == number


def test_headers_win_over_metadata() -> None:
    found = terms({"quality_tier": "high", "quality_tolerance": 0.5}, x_quality_tier="low", x_quality_tolerance="0.1")
    assert (found.quality_tier, found.tolerance) == ("low", 0.1)
    found = terms({"quality_tier": "high", "quality_tolerance": "0.5"})
    assert (found.quality_tier, found.tolerance) == ("high", 0.5)


@pytest.mark.parametrize(
    ("metadata", "code", "param"),
    [
        ("high", "invalid_request", "metadata"),
        ([], "invalid_request", "metadata"),
        (0, "invalid_request", "metadata"),
        ({"quality_tier": 1}, "invalid_request", "metadata.quality_tier"),
        ({"quality_tier": ""}, "unknown_quality_tier", "quality_tier"),
    ],
)
def test_metadata_of_another_kind_is_refused(metadata: object, code: str, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        terms(metadata)
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize(
    "header", ["x-session-id", "x-litellm-session-id", "helicone-session-id", "x-litellm-trace-id"]
)
def test_a_session_is_known_by_any_of_its_names(header: str) -> None:
    assert parse_terms({header: "run-7"}, None, SALT).session_id == "run-7"
    with pytest.raises(RequestError) as refused:
        parse_terms({header: "x" * 257}, None, SALT)
    assert refused.value.param == header


def test_the_plain_name_of_a_session_wins() -> None:
    found = terms(x_litellm_trace_id="trace", x_session_id="mine", x_parent_session_id="parent")
    assert (found.session_id, found.parent_session_id) == ("mine", "parent")


def test_tags_come_from_every_header_and_the_routers_own_wins() -> None:
    found = terms(
        x_router_tags="feature=search, customer=acme%2C%20inc,flag,city=Zürich".encode().decode("latin-1"),
        x_litellm_tags="batch,feature=old",
        helicone_property_app="mobile",
    )
    assert found.tags == {
        "feature": "search",
        "customer": "acme, inc",
        "flag": "true",
        "city": "Zürich",
        "batch": "true",
        "app": "mobile",
    }


def test_a_header_that_is_no_utf8_is_read_as_latin() -> None:
    assert terms(x_router_tags="city=Z\xfcrich").tags == {"city": "Zürich"}


def test_blanks_around_a_header_are_no_part_of_it_and_one_that_came_twice_is_joined() -> None:
    pairs = [
        (b"x-quality-tier", b" economy \t"),
        (b"x-router-tags", b"feature=search"),
        (b"x-router-tags", b"customer=acme"),
    ]
    found = parse_terms(headers_of_scope(pairs), None, SALT)
    assert found.quality_tier == "economy"
    assert found.tags == {"feature": "search", "customer": "acme"}
    twice = [(b"x-quality-tolerance", b"0"), (b"x-quality-tolerance", b"0.5")]
    with pytest.raises(RequestError) as refused:
        parse_terms(headers_of_scope(twice), None, SALT)
    assert refused.value.code == "invalid_quality_tolerance"


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("x-quality-tolerence", "did you mean `x-quality-tolerance`?"),
        ("x-quality-teir", "did you mean `x-quality-tier`?"),
        ("x-quality", "`x-quality-tier` and `x-quality-tolerance`"),
        ("x-router-tag", "did you mean `x-router-tags`?"),
    ],
)
def test_a_misspelt_header_is_refused_and_not_served_on_other_terms(header: str, hint: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_terms({header: "economy"}, None, SALT)
    assert (refused.value.code, refused.value.param) == ("invalid_request", header)
    assert hint in refused.value.message
    assert "economy" not in refused.value.message


def test_headers_of_responses_and_of_proxies_are_left_alone() -> None:
    headers = {"x-router-model": "opus", "x-router-decision-id": "dec_1", "x-router-name": "edge", "quality": "x"}
    assert parse_terms(headers, {"quality_score": "9", "team": "search"}, SALT) == Terms()


def test_a_misspelt_field_of_the_metadata_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        terms({"quality_tolerence": 0})
    assert refused.value.param == "metadata.quality_tolerence"
    assert "did you mean `quality_tolerance`?" in refused.value.message


BAD: list[tuple[str, str, str]] = [
    ("x-router-tags", "=x", "x-router-tags"),
    ("x-router-tags", "a=", "x-router-tags"),
    ("x-router-tags", "a=b%0Ac", "x-router-tags"),
    ("x-router-tags", "a=b\x00", "x-router-tags"),
    ("x-router-tags", "n" * 65, "x-router-tags"),
    ("x-router-tags", "a=" + "v" * 257, "x-router-tags"),
    ("x-router-tags", ",".join(f"t{n}=1" for n in range(33)), "x-router-tags"),
    ("x-litellm-tags", "\x7f", "x-litellm-tags"),
    ("helicone-property-", "x", "helicone-property-"),
    ("helicone-property-a", "", "helicone-property-"),
    ("x-parent-session-id", "a\tb", "x-parent-session-id"),
    ("idempotency-key", "", "idempotency-key"),
    ("idempotency-key", "k" * 257, "idempotency-key"),
]


@pytest.mark.parametrize(("header", "value", "param"), BAD)
def test_what_is_unbounded_or_unprintable_is_refused(header: str, value: str, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_terms({header: value}, None, SALT)
    assert (refused.value.code, refused.value.param) == ("invalid_request", param)


NAMES = st.sampled_from(sorted({header for header, _, _ in BAD} | {"x-quality-tier", "x-quality-tolerance"}))
LATIN = st.text(st.characters(max_codepoint=255), max_size=300)


@given(st.dictionaries(NAMES, LATIN), st.none() | st.dictionaries(st.just("quality_tier"), st.text() | st.none()))
def test_any_headers_are_read_or_refused(headers: dict[str, str], metadata: Any) -> None:
    try:
        found = parse_terms(headers, metadata, SALT)
    except RequestError:
        return
    assert len(found.tags) <= 32
    assert all(name.isprintable() and value.isprintable() for name, value in found.tags.items())
    assert found.tolerance is None or 0 <= found.tolerance <= 1
