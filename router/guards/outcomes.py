"""What a tool answered that brings nothing: an error, or an empty page.

Such answers differ from turn to turn in what the model asked for and in numbers, and say the same: "no such file" of
another guess, page 17 of nothing. What an error tells besides is kept: thirty compile errors that are mended one by one
are work, and so is a day of a calendar on which nothing happened.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING

from router.chat import ToolResult
from router.guards.arguments import strings_in
from router.guards.volatile import NUMBER, bare, normalised, western
from router.prompt import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import Message

HEAD_CHARS = 200
# A longer text that tells of errors, and that no tool marked as one, is something to read: a log, a file.
ERROR_CHARS_MAX = 400
ERROR_WORDS = (
    "error", "exception", "traceback", "failed", "failure", "not found", "denied", "timed out", "timeout",
    "fehler", "fehlgeschlagen", "verweigert", "erreur", "échec", "errore", "fallo", "falló", "ошибка", "错误", "錯誤",
    "失败", "失敗", "エラー", "오류", "실패", "خطأ",
)  # fmt: skip
# `Build succeeded. 0 errors`, `{"ok": true, "errors": []}`
NO_ERRORS = re.compile(
    r"\b(?:0|no|zero|without(?: any)?)\s+(?:[a-z]+\s)?(?:errors?|failures?|failed|exceptions?)\b"
    r"|\b(?:errors?|failures?|failed|exceptions?)\"?\s*[:=]\s*(?:\[\s*\]|\{\s*\}|null|none|false|\"\"|0\b)"
)
# What a report on work lists where all went well.
REPORTED = frozenset({"errors", "error", "warnings", "failed", "failures"})
ASKED_CHARS_MIN = 3
EMPTY_CHARS_MAX = 1_024
EMPTY = frozenset(
    {"[]", "empty", "no data", "no entries", "no items", "no matches", "no matches found", "no more results",
     "no results", "no results found", "0 results", "no rows", "no records found", "nothing found", "keine ergebnisse",
     "keine treffer", "aucun résultat", "sin resultados", "没有结果", "无结果"}
)  # fmt: skip
PAGING = frozenset(
    {"page", "pages", "pagenumber", "pageno", "pagesize", "perpage", "pagetoken", "nextpage", "nextpagetoken", "next",
     "offset", "skip", "start", "startindex", "startat", "after", "cursor", "nextcursor", "limit", "total",
     "totalcount", "totalpages", "hasmore", "hasnext", "hasnextpage", "more", "truncated"}
)  # fmt: skip
NAMED = re.compile(r'"([A-Za-z_-]{2,20})":("[^"]*"|[0-9.-]+|true|false|null)')
# How far a job is: `41%`, `3 of 9`, `"processed": 120`.
COUNTED = re.compile(r"(?:\.[0-9]+)?\s?(?:%|(?:/|of)\s?[0-9])")
COUNTS = re.compile(
    r"(?:progress|percent|percentage|completed?|processed|done|finished|remaining|left|pending)\W{1,4}$"
)
NAME_CHARS = 24
MARKS_MAX = 64
LETTERS = re.compile(r"[^a-z]")


def is_error(newest: list[Message]) -> bool:
    """Whether all results of a turn are errors: marked as such, or short texts that say so."""
    results = _results(newest)
    return bool(results) and all(each.is_error or _says_error(text_of(each.parts)) for each in results)


def is_empty(newest: list[Message]) -> bool:
    """Whether all results of a turn are pages with nothing on them."""
    results = _results(newest)
    return bool(results) and all(_is_nothing(text_of(each.parts)) for each in results)


def nothing_new(newest: list[Message], calls: Mapping[str, tuple[str, str]], now_s: float, *, is_error: bool) -> str:
    """What such a turn says, without what the model asked for and without numbers; an empty page without its number."""
    found: list[str] = []
    for each in _results(newest):
        name, arguments = calls.get(each.call_id, ("", ""))
        if not is_error:
            found += [name, NAMED.sub(_without_page, arguments)]
            continue
        text = text_of(each.parts)[:ERROR_CHARS_MAX]
        for word in strings_in(arguments):
            if len(word) >= ASKED_CHARS_MIN:
                text = text.replace(word, "\x04")
        found += [name, bare(normalised(western(text), now_s)[0])]
    return "\n".join(found)


def progress_in(text: str) -> list[str]:
    """The numbers of a text that say how far something is, of its first 64."""
    return [
        match.group()
        for match in islice(NUMBER.finditer(text), MARKS_MAX)
        if COUNTED.match(text, match.end())
        or COUNTS.search(text[max(match.start() - NAME_CHARS, 0) : match.start()].lower())
    ]


def _results(newest: list[Message]) -> list[ToolResult]:
    return [part for each in newest for part in each.parts if isinstance(part, ToolResult)]


def _says_error(text: str) -> bool:
    if len(text) > ERROR_CHARS_MAX:
        return False
    head = text[:HEAD_CHARS].lower()
    if not any(word in head for word in ERROR_WORDS):
        return False
    rest = NO_ERRORS.sub("", head)
    return rest == head or any(word in rest for word in ERROR_WORDS)


def _is_nothing(text: str) -> bool:
    if len(text) > EMPTY_CHARS_MAX:
        return False
    text = text.strip()
    if text.lower().rstrip(".!") in EMPTY:
        return True
    if not text.startswith(("{", "[")) or "[]" not in text.replace(" ", ""):
        return False
    try:
        return _is_blank(json.loads(text))
    except (ValueError, RecursionError):
        return False


def _is_blank(value: object) -> bool:
    """Whether a JSON value holds empty lists alone, and numbers of pages."""
    if isinstance(value, dict):
        return all(_is_paging(name) or (name not in REPORTED and _is_blank(each)) for name, each in value.items())
    return value is None or value == []


def _is_paging(name: str) -> bool:
    return LETTERS.sub("", name.lower()) in PAGING


def _without_page(match: re.Match[str]) -> str:
    return f'"{match.group(1)}":' if _is_paging(match.group(1)) else match.group()
