"""Which pages of the ledger a writer remembers; the transactions themselves are tests/conformance/ledger's."""

from __future__ import annotations

from router.ledger import Folio
from router.stores.sql import posting
from router.stores.sql.posting import CLOSED_MAX, ENTRIES_MAX, FOLIOS_MAX, trim
from tests.lines import intent_line, settlement_line


def page(decision_id: str, *, is_open: bool) -> Folio:
    folio = Folio()
    folio.add(intent_line(decision_id=decision_id))
    if not is_open:
        folio.add(settlement_line(decision_id=decision_id))
    return folio


def test_closed_pages_are_forgotten_before_open_ones() -> None:
    folios = {f"open{i}": page(f"open{i}", is_open=True) for i in range(100)}
    folios |= {f"closed{i}": page(f"closed{i}", is_open=False) for i in range(CLOSED_MAX)}
    for _ in range(8):
        trim(folios)
    assert len(folios) == CLOSED_MAX
    assert sum(name.startswith("open") for name in folios) == 100
    assert "closed99" not in folios
    assert f"closed{CLOSED_MAX - 1}" in folios


def test_one_transaction_looks_at_no_more_pages_than_it_may_bring() -> None:
    folios = {f"open{i}": page(f"open{i}", is_open=True) for i in range(CLOSED_MAX + 2 * ENTRIES_MAX)}
    before = list(folios)
    trim(folios)
    assert list(folios) == [*before[ENTRIES_MAX:], *before[:ENTRIES_MAX]]


def test_even_open_pages_are_bounded() -> None:
    folio = page("d", is_open=True)
    folios = {f"open{i}": folio for i in range(FOLIOS_MAX + 10)}
    trim(folios)
    assert len(folios) == FOLIOS_MAX
    assert posting.FOLIOS_MAX > posting.CLOSED_MAX
