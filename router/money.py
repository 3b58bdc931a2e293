"""Money as integers: amounts in nano-USD, prices in nano-USD per million tokens. No float ever touches either.

int64 holds 9.2e9 USD in nano-USD, so every amount fits a database's bigint.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import TypeAlias

NanoUsd: TypeAlias = int
NanoUsdPerMtok: TypeAlias = int

NANO_PER_USD = 1_000_000_000
TOKENS_PER_MTOK = 1_000_000
DECIMALS = 9
AMOUNT_NANOUSD_MAX = 2**63 - 1
NANO_USD = Decimal(1).scaleb(-DECIMALS)
EXACT = Context(prec=28, traps=[Inexact, InvalidOperation])
TOO_LARGE = "more than a ledger's integers hold"


def parse_usd(text: str | Decimal) -> NanoUsd:
    """Exact nano-USD of a decimal amount.

    Raises ValueError on more than nine decimals, NaN, infinity, no number, or more than int64 holds.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ValueError("not a decimal amount") from error
    if not amount.is_finite():
        raise ValueError("not a finite amount")
    try:
        nano = int(amount.quantize(NANO_USD, context=EXACT).scaleb(DECIMALS, context=EXACT))
    except Inexact as error:
        raise ValueError(f"more than {DECIMALS} decimals") from error
    except InvalidOperation as error:
        raise ValueError(TOO_LARGE) from error
    if abs(nano) > AMOUNT_NANOUSD_MAX:
        raise ValueError(TOO_LARGE)
    return nano


def usd_of(amount_nanousd: NanoUsd) -> str:
    """The amount as a decimal string with all nine decimals, such as ``-0.000000400``; exact for any integer."""
    sign = "-" if amount_nanousd < 0 else ""
    whole, nano = divmod(abs(amount_nanousd), NANO_PER_USD)
    return f"{sign}{whole}.{nano:09d}"


def price_per_mtok_of(usd_per_token: Decimal) -> NanoUsdPerMtok:
    """Nano-USD per million tokens of a price in USD per token, rounded half to even.

    The rounding touches only prices with more than fifteen decimals, a division's tail in the map: less than one
    nano-USD in a million tokens. Raises ValueError on NaN and infinity.
    """
    if not usd_per_token.is_finite():
        raise ValueError("a price must be finite")
    return int((usd_per_token * NANO_PER_USD * TOKENS_PER_MTOK).to_integral_value(ROUND_HALF_EVEN))


def amount_nanousd(tokens_times_price: int) -> NanoUsd:
    """One rounding, half to even, of a sum of tokens times price per million tokens."""
    whole, rest = divmod(tokens_times_price, TOKENS_PER_MTOK)
    half = TOKENS_PER_MTOK // 2
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def amount_nanousd_up(tokens_times_price: int) -> NanoUsd:
    """The same rounded up: a hold is never below what it holds for."""
    return -(-tokens_times_price // TOKENS_PER_MTOK)
