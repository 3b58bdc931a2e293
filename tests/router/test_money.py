from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.money import (
    AMOUNT_NANOUSD_MAX,
    amount_nanousd,
    amount_nanousd_up,
    parse_usd,
    price_per_mtok_of,
    usd_of,
)

amounts = st.integers(min_value=-AMOUNT_NANOUSD_MAX, max_value=AMOUNT_NANOUSD_MAX)
sums = st.integers(min_value=0, max_value=10**30)


@given(amounts)
def test_an_amount_survives_its_text(amount: int) -> None:
    assert parse_usd(usd_of(amount)) == amount


@given(amounts)
def test_the_text_is_the_exact_amount(amount: int) -> None:
    assert Decimal(usd_of(amount)) * 10**9 == amount


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (-400, "-0.000000400"),
        (1_234_567_890, "1.234567890"),
        (-1_000_000_000, "-1.000000000"),
        (10**20, "100000000000.000000000"),
    ],
)
def test_text_has_all_nine_decimals(amount: int, text: str) -> None:
    assert usd_of(amount) == text


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 10**9),
        ("0.1", 10**8),
        ("-0.0000004", -400),
        ("1.5000000000000000", 1_500_000_000),  # zeros beyond the ninth decimal say nothing
        ("2e-9", 2),
        (Decimal("0.29"), 290_000_000),
        ("9223372036.854775807", 2**63 - 1),
        ("0e-50", 0),
    ],
)
def test_an_exact_amount_is_read(text: str | Decimal, amount: int) -> None:
    assert parse_usd(text) == amount


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0000000001", "decimals"),
        ("1.00000000000000000000000000000000000000001", "decimals"),  # more digits than Decimal's own context keeps
        ("1e-999999999", "decimals"),
        ("nan", "finite"),
        ("sNaN", "finite"),
        ("inf", "finite"),
        ("-Infinity", "finite"),
        ("", "not a decimal"),
        ("1,5", "not a decimal"),
        ("$1", "not a decimal"),
        ("9223372036.854775808", "hold"),
        ("1e999999999", "hold"),
    ],
)
def test_what_is_no_exact_amount_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_usd(text)


@pytest.mark.parametrize(
    ("usd_per_token", "price"),
    [
        ("4e-06", 4_000_000_000),
        ("1e-07", 100_000_000),
        ("2.5e-09", 2_500_000),
        ("0", 0),
        ("0.000015000020000000002", 15_000_020_000),  # the tail of a division, as the map has it
        ("0.0000000000000005", 0),  # half a nano-USD in a million tokens, to even
        ("0.0000000000000015", 2),
    ],
)
def test_a_price_per_token_becomes_one_per_million(usd_per_token: str, price: int) -> None:
    assert price_per_mtok_of(Decimal(usd_per_token)) == price


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_price_that_is_not_finite_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        price_per_mtok_of(Decimal(text))


@pytest.mark.parametrize(
    ("total", "rounded"),
    [(499_999, 0), (500_000, 0), (500_001, 1), (1_499_999, 1), (1_500_000, 2), (2_500_000, 2), (3_000_000, 3)],
)
def test_a_tie_goes_to_the_even_neighbour(total: int, rounded: int) -> None:
    assert amount_nanousd(total) == rounded


@given(sums)
def test_rounding_is_that_of_exact_fractions(total: int) -> None:
    assert amount_nanousd(total) == round(Fraction(total, 10**6))


@given(sums)
def test_a_hold_is_never_below_and_never_a_whole_unit_above(total: int) -> None:
    assert 0 <= amount_nanousd_up(total) * 10**6 - total < 10**6
    assert amount_nanousd_up(total) >= amount_nanousd(total)
