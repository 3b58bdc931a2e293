"""The flame graph from stacks: what counts, whose it is, and a picture that is the same for the same stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.__main__ import main
from benchmarks.flame import AREAS, COLOURS, OTHER, area_of, bars_of, label_of, merged, shares_of, stacks_of
from benchmarks.systems import REPO as ROOT

if TYPE_CHECKING:
    from pathlib import Path

ASGI = "serve (router/wiring.py:1);RequestResponseCycle.run_asgi (uvicorn/protocols/http/httptools_impl.py:9)"
LINES = [
    f"{ASGI};answer (router/gateway.py:3);decide (router/decide.py:5);features_of (router/features/structure.py:7) 30",
    f"{ASGI};answer (router/gateway.py:4);decide (router/decide.py:6);features_of (router/features/structure.py:9) 10",
    f"{ASGI};answer (router/gateway.py:8);dumps (json/__init__.py:2) 20",
    f"{ASGI};post (router/providers/http.py:2);_request (aiohttp/client.py:4) 25",
    "run (threading.py:1);Writer._run_until_closed (router/stores/sql/sqlite.py:7);post (router/ledger/fold.py:2) 15",
    "no stack at all",
    "",
]


def test_stacks_begin_where_a_request_does_and_lines_of_one_function_are_one() -> None:
    stacks = stacks_of(LINES)
    assert sum(count for _, count in stacks) == 100
    assert len(stacks) == 4
    assert all(stack[0].startswith(("RequestResponseCycle", "Writer")) for stack, _ in stacks)


def test_a_sample_belongs_to_the_deepest_part_of_the_house() -> None:
    assert dict(shares_of(stacks_of(LINES))) == {"features": 0.4, "vendor call": 0.25, OTHER: 0.2, "ledger": 0.15}
    assert area_of(("f (json/decoder.py)",)) == OTHER
    assert set(AREAS.values()) | {OTHER} == set(COLOURS)


def test_every_part_that_is_named_is_there() -> None:
    for prefix in AREAS:
        if prefix.startswith("router/"):
            assert (ROOT / prefix).is_dir() or (ROOT / f"{prefix}.py").is_file(), prefix


def test_bars_lie_on_their_callers_and_no_row_is_wider_than_the_whole() -> None:
    bars = bars_of(merged(stacks_of(LINES)))
    rows: dict[int, float] = {}
    for depth, left, width, _, _ in bars:
        rows[depth] = rows.get(depth, 0.0) + width
        assert 0 <= left <= left + width <= 1 + 1e-9
    assert rows[0] == pytest.approx(1.0)
    assert max(rows.values()) <= 1 + 1e-9
    assert label_of("a_very_long_name_of_a_function (router/x.py)", 0.05).endswith("\u2026")


def test_saved_stacks_are_drawn_alike(tmp_path: Path, capsys: Any) -> None:
    stacks = tmp_path / "stacks.txt"
    stacks.write_text("\n".join(LINES), encoding="utf-8")
    for name in ("one.svg", "two.svg"):
        assert main(["flame", "--stacks", str(stacks), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert "features" in capsys.readouterr().out
    stacks.write_text("", encoding="utf-8")
    assert main(["flame", "--stacks", str(stacks)]) == 1
    assert main(["flame", "--py-spy", str(tmp_path / "none")]) == 2
