from __future__ import annotations

from datetime import date

import pytest

from router.config.yaml_places import COMMA, ExactFloat, Places, path_text


def value_of(text: str) -> object:
    places = Places(text, "f.yaml")
    assert [str(each) for each in places.findings] == []
    return places.value


def said(text: str) -> list[str]:
    return [str(each) for each in Places(text, "f.yaml").findings]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: -7", -7),
        ("a: 007", 7),
        ("a: 0.5", 0.5),
        ("a: 1e3", 1000.0),
        ("a: .5", 0.5),
        ("a: true", True),
        ("a: 'true'", "true"),
        ('a: "1"', "1"),
        ("a: yes", "yes"),
        ("a: 1_000", "1_000"),
        ("a: 0x10", "0x10"),
        ("a: 2026-11-01", date(2026, 11, 1)),
        ("a: '2026-11-01'", "2026-11-01"),
        ("a: |\n  1", "1"),
        ("a: [1, b]", [1, "b"]),
        ("a: {b: {c: x}}", {"b": {"c": "x"}}),
        ("a: ''", ""),
        ("\ufeffa: 1", 1),
        ("a: 1\r\n", 1),
        ("x: &n [1]\na: *n", [1]),
    ],
)
def test_values_are_what_the_text_says_and_no_more(text: str, value: object) -> None:
    found = value_of(text)
    assert isinstance(found, dict)
    assert found["a"] == value
    assert type(found["a"]) in (type(value), ExactFloat)


def test_a_number_with_a_point_keeps_its_text() -> None:
    found = value_of("a: 0.1000000000000000000001")
    assert isinstance(found, dict)
    number = found["a"]
    assert isinstance(number, ExactFloat)
    assert (number, number.text) == (0.1, "0.1000000000000000000001")


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("a: 1\nb:\n", ["f.yaml:2: b: has no value: give it one, or remove the line"]),
        ("a: ~\nb: null", ["f.yaml:1: a: has no value: give it one, or remove the line",
                           "f.yaml:2: b: has no value: give it one, or remove the line"]),
        ("a: {b: 0,05}", [f"f.yaml:1: a.05: {COMMA}"]),
        ("a: 1\nb: 2\na: 3\n", ["f.yaml:3: a: this key is given twice"]),
        ("a: .nan", ["f.yaml:1: a: `.nan` is not an amount of anything"]),
        ("a: " + "9" * 5000, ["f.yaml:1: a: a number beyond every measure"]),
        ("a: 1e999", ["f.yaml:1: a: a number beyond every measure"]),
        ("a: 2026-13-01", ["f.yaml:1: a: 2026-13-01 is not a day of the calendar"]),
        ("[a]: 1", ["f.yaml:1: a key must be plain text"]),
        ("a: !!python/object:os.system x", ["f.yaml:1: a: a YAML tag (`!...`) means nothing here: remove it"]),
        ("a: 1\n--- \nb: 1", ["f.yaml:2: a second document starts here; a file holds one"]),
        ("", ["f.yaml:1: the file is empty"]),
        ("# only this\n", ["f.yaml:1: the file is empty"]),
        ("a: 1\nb: \x07", ["f.yaml:2: the control character U+0007 is not text"]),
        ("a:\n\tb: 1", ["f.yaml:2: not valid YAML: a tab: YAML is indented with spaces"]),
        ("b: &x 1\na:\n  <<: *x\n  c: 1", ["f.yaml:3: a.<<: merged blocks are not read: write the fields out"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_yaml_has_its_line(text: str, findings: list[str]) -> None:
    assert said(text) == findings


def test_a_finding_stands_where_the_file_has_something() -> None:
    places = Places("a:\n  - b: 1\n  - c: 2\n", "f.yaml")
    assert str(places.find(("a", 1, "c"), "x")) == "f.yaml:3: a[1].c: x"
    assert str(places.find(("a", 1, "gone"), "x")) == "f.yaml:3: a[1].gone: x"
    assert str(places.find(("elsewhere",), "x")) == "f.yaml:1: elsewhere: x"
    assert path_text(()) == ""


def test_a_bomb_ends_early() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    [finding] = said(text)
    assert finding.endswith("aliases multiplied them")
