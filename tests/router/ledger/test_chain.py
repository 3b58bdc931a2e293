from __future__ import annotations

import pytest

from router.ledger.chain import ChainCheck, Head, StoredLine, genesis_of, hash_of, start_of


def chain_of(count: int, writer_id: str = "w") -> list[StoredLine]:
    lines: list[StoredLine] = []
    previous = genesis_of(writer_id)
    for number in range(1, count + 1):
        line = StoredLine(number, writer_id, number, "intent", f"d{number}", 1, "i1", number, b"{}", previous, b"")
        line = line._replace(hash=hash_of(line))
        lines.append(line)
        previous = line.hash
    return lines


def codes_of(lines: list[StoredLine]) -> list[tuple[str, int | None]]:
    check = ChainCheck()
    return [(finding.code, finding.seq) for line in lines for finding in check.check(line)]


def test_whole_chain_is_sound() -> None:
    check = ChainCheck()
    lines = chain_of(5)
    assert [finding for line in lines for finding in check.check(line)] == []
    assert check.check_heads({"w": Head(5, lines[-1].hash)}) == []
    assert check.lines == 5


def test_chains_of_two_writers_do_not_disturb_each_other() -> None:
    mixed = [line for pair in zip(chain_of(3, "a"), chain_of(3, "b"), strict=True) for line in pair]
    assert codes_of(mixed) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "settlement"),
        ("decision_id", "dx"),
        ("attempt", 2),
        ("line_key", "i2"),
        ("time_ms", 0),
        ("payload", b"[]"),
    ],
)
def test_every_column_is_bound(name: str, value: object) -> None:
    lines = chain_of(3)
    lines[1] = lines[1]._replace(**{name: value})
    assert codes_of(lines) == [("hash_mismatch", 2)]


def test_text_cannot_run_from_one_column_into_the_next() -> None:
    line = chain_of(1)[0]
    assert hash_of(line._replace(decision_id="d1\n1", attempt=1)) != hash_of(line._replace(decision_id="d1", attempt=1))
    assert hash_of(line._replace(line_key="i1", time_ms=12)) != hash_of(line._replace(line_key="i11", time_ms=2))


def test_removed_line_leaves_a_gap() -> None:
    lines = chain_of(4)
    assert codes_of([lines[0], *lines[2:]]) == [("chain_gap", 3)]


def test_line_with_a_hash_of_its_own_breaks_the_link_after_it() -> None:
    lines = chain_of(4)
    changed = lines[1]._replace(payload=b"[1]")
    lines[1] = changed._replace(hash=hash_of(changed))
    assert codes_of(lines) == [("chain_broken", 3)]


def test_cut_off_end_and_unknown_chains_are_found() -> None:
    check = ChainCheck()
    lines = chain_of(3)
    for line in lines[:2]:
        check.check(line)
    found = check.check_heads({"w": Head(3, lines[2].hash), "gone": Head(1, b"x")})
    assert [finding.code for finding in found] == ["chain_end", "chain_end"]
    assert "gone" in found[0].message
    assert check.check_heads({}) != []
    assert start_of("w") == Head(0, genesis_of("w"))
    assert genesis_of("w") != genesis_of("v")
