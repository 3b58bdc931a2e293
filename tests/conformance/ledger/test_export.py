from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from router.ledger import RequestQuery
from router.stores.sql.export import export
from tests.lines import START_MS, intent_line, rejection_line, settlement_line

if TYPE_CHECKING:
    from router.ports import Ledger

BIG = 4_000_000_000_000_000_001


@pytest.fixture
async def filled(ledger: Ledger) -> Ledger:
    await ledger.append(intent_line("a", tags={"feature": "=1+1"}), settlement_line("a", cost_nanousd=BIG))
    await ledger.append(rejection_line("b", team="=HYPERLINK()", time_ms=START_MS + 1))
    return ledger


async def exported(ledger: Ledger, export_format: str, query: RequestQuery | None = None) -> bytes:
    out = io.BytesIO()
    told: list[int] = []
    count = await export(ledger, query or RequestQuery(), out, export_format, told.append)
    assert told == ([count] if count else [])
    return out.getvalue()


async def test_jsonl_keeps_every_digit(filled: Ledger) -> None:
    rows = [json.loads(line) for line in (await exported(filled, "jsonl")).splitlines()]
    assert [row["decision_id"] for row in rows] == ["a", "b"]
    assert rows[0]["cost_nanousd"] == BIG
    assert rows[0]["cost_usd"] == "4000000000.000000001"
    assert rows[0]["tags"] == {"feature": "=1+1"}
    assert rows[0]["time"] == "2026-10-26T07:33:20.000Z"
    assert rows[1]["cost_usd"] == "0.000000000"


async def test_csv_disarms_formulas(filled: Ledger) -> None:
    rows = list(csv.DictReader(io.StringIO((await exported(filled, "csv")).decode())))
    assert rows[0]["cost_usd"] == "4000000000.000000001"
    assert rows[1]["team"] == "'=HYPERLINK()"
    assert rows[1]["model"] == ""


async def test_parquet_has_types(filled: Ledger) -> None:
    table = pq.read_table(io.BytesIO(await exported(filled, "parquet")))
    assert table.column("cost_nanousd").to_pylist() == [BIG, 0]
    assert table.column("is_modelled").to_pylist() == [True, False]
    assert table.column("tolerance").to_pylist() == [0.05, 0.05]
    assert table.column("model").to_pylist() == ["haiku", None]


@pytest.mark.parametrize("export_format", ["jsonl", "csv", "parquet"])
async def test_export_of_nothing_is_a_whole_file(ledger: Ledger, export_format: str) -> None:
    content = await exported(ledger, export_format)
    if export_format == "jsonl":
        assert content == b""
    elif export_format == "csv":
        assert content.startswith(b"time,decision_id,")
        assert content.count(b"\n") == 1
    else:
        assert pq.read_table(io.BytesIO(content)).num_rows == 0


async def test_since_leaves_out_what_is_older(filled: Ledger) -> None:
    content = await exported(filled, "jsonl", RequestQuery(from_ms=START_MS + 1))
    assert [json.loads(line)["decision_id"] for line in content.splitlines()] == ["b"]
