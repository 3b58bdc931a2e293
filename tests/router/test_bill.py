from __future__ import annotations

from dataclasses import replace

from router.bill import Bill
from router.decision import CostRange

BILL = Bill(
    decision_id="dec_1",
    model="haiku",
    reason="cheapest_within_tolerance",
    complexity=0.2,
    expected_loss=0.01,
    cost_nanousd=1_000,
    premium_cost=CostRange(900, 1_500, 2_000),
    dropped=(),
    attempts=1,
    usage_source="reported",
)


def test_savings_are_premiums_point_less_what_was_paid_and_may_be_negative() -> None:
    assert BILL.savings_nanousd == 500
    assert replace(BILL, cost_nanousd=1_700).savings_nanousd == -200


def test_where_premium_is_not_modelled_there_is_no_saving_to_tell() -> None:
    assert replace(BILL, premium_cost=None).savings_nanousd is None
