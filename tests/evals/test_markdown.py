"""What the documents say of the model is what the result files say, and these are of the model that is shipped."""

from __future__ import annotations

import pytest

from evals.markdown import (
    BARS,
    DOCUMENTS,
    FILES,
    PLACE,
    bars_table,
    filled,
    read_results,
    seeds_table,
    table,
    tables_of,
)
from router.quality import load_quality_model

RESULTS = read_results()
TABLES = tables_of(RESULTS)
PLACES = [found["name"] for document in DOCUMENTS for found in PLACE.finditer(document.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", FILES)
def test_every_result_is_of_the_shipped_model(name: str) -> None:
    assert RESULTS[name]["model_revision"] == load_quality_model().revision


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_table_was_typed(document: object) -> None:
    """``python -m evals docs`` writes them anew."""
    text = document.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert filled(text, TABLES) == text


def test_every_table_stands_in_the_documents_once() -> None:
    assert sorted(PLACES) == sorted(TABLES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_other_model_is_named(document: object) -> None:
    text = document.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert load_quality_model().revision in text


def test_a_table_that_is_none_is_not_left_as_it_is() -> None:
    with pytest.raises(KeyError, match="nothing"):
        filled("<!-- evals: nothing -->\nold\n<!-- end -->", {})
    text = "a\n<!-- evals: x -->\nold\nrows\n<!-- end -->\nb"
    assert filled(text, {"x": "new\n"}) == "a\n<!-- evals: x -->\nnew\n<!-- end -->\nb"


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |\n"
    assert "| one | 0.200 | 0.100 .. 0.300 | 0.100, 0.300 |" in seeds_table({"one": [0.1, 0.3]})
    assert "| cases | 11.5 | 11 .. 12 | 11, 12 |" in seeds_table({"cases": [11.0, 12.0]})


def test_every_bar_has_its_figure() -> None:
    lines = bars_table(RESULTS).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {name}" for name, _, _ in BARS]
    assert all(any(character.isdigit() for character in line.split(" | ")[3]) for line in lines[2:])
