from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leak_agents import prose
from router.guards.fingerprints import digest as keyed
from router.guards.fingerprints import distance, is_strong, mixed, pieces, words_of
from router.guards.fingerprints import simhash as simhash_of

KEY = b"k" * 32


def simhash(text: str) -> int:
    return simhash_of(words_of(KEY, text))


def test_one_word_of_many_moves_few_bits_and_another_text_moves_many() -> None:
    said = prose(random.Random(1), 200).split()
    changed = [*said[:100], "changed", *said[101:]]
    assert distance(simhash(" ".join(said)), simhash(" ".join(changed))) <= 6
    assert distance(simhash(" ".join(said)), simhash(prose(random.Random(2), 200))) > 6


def test_short_texts_have_no_fingerprint() -> None:
    assert simhash("The file was written.") == 0


def test_an_answer_is_found_wherever_it_is_pasted() -> None:
    answer = prose(random.Random(3), 120)
    pasted = f"{prose(random.Random(4), 37)} Your task:\n  {answer}\nDo it. {prose(random.Random(5), 23)}"
    shared = set(pieces(KEY, [answer])) & set(pieces(KEY, [pasted]))
    assert len(shared) >= 2
    assert not set(pieces(KEY, [answer])) & set(pieces(KEY, [prose(random.Random(6), 200)]))


@given(st.lists(st.text(max_size=300), max_size=5))
def test_pieces_are_bounded(texts: list[str]) -> None:
    assert len(pieces(KEY, texts)) <= 128


def test_lines_end_pieces_and_count_as_no_words() -> None:
    answer = prose(random.Random(7), 60)
    assert set(pieces(KEY, [answer])) <= set(pieces(KEY, [f"{prose(random.Random(8), 9)}\n{answer}\n\n \nAnd now?"]))
    assert simhash(answer) == simhash(answer.replace(" ", " \n"))
    assert pieces(KEY, ["a list of\nshort lines\n\nsays nothing"]) == ()


def test_a_piece_says_whether_it_is_long_and_whose_it_is() -> None:
    short, long = pieces(KEY, ["four words stand here"]), pieces(KEY, ["\n".join(("no end at all",) * 3)])
    assert [is_strong(each) for each in short] == [False]
    assert len(long) == 1, "the same piece thrice is one"
    whole = [piece for seed in range(20) for piece in pieces(KEY, [prose(random.Random(seed), 9)])]
    assert any(map(is_strong, whole))
    assert pieces(b"j" * 32, ["four words stand here"]) != short


def test_the_order_of_words_makes_another_piece() -> None:
    assert pieces(KEY, ["the cat saw the dog\n"]) != pieces(KEY, ["the dog saw the cat\n"])


def test_mixed_digests_depend_on_each_number_and_its_place() -> None:
    numbers = [keyed(KEY, index) for index in range(4)]
    assert len({mixed(*numbers), mixed(*reversed(numbers)), mixed(*numbers[:3]), mixed(*numbers, 0)}) == 4
    assert 0 <= mixed(*numbers) < 2**64


@given(
    st.lists(st.sampled_from(["one", "two", "\n", " ", "\x00", "a longer word", "\u00e9"]), max_size=120),
    st.integers(0, 9),
)
def test_white_space_and_lines_around_a_text_move_no_piece_of_it(words: list[str], blanks: int) -> None:
    text = " ".join(words)
    assert pieces(KEY, [text]) == pieces(KEY, ["\n" * blanks + text.replace(" ", "  ") + " " * blanks])


@given(st.text(max_size=40), st.text(alphabet="a \n\x00\u00e9", max_size=400))
def test_nothing_in_a_text_can_make_it_fail(start: str, rest: str) -> None:
    made = words_of(KEY, start + rest)
    assert 0 <= simhash_of(made) < 2**64
    assert all(0 <= piece < 2**64 for piece in pieces(KEY, [start + rest]))


def test_the_longest_text_is_read() -> None:
    assert len(words_of(KEY, "a\n" * 40_000)) <= 8_193
    assert pieces(KEY, ["a\n" * 40_000]) == ()


def test_digests_depend_on_key_parts_and_their_bounds() -> None:
    assert keyed(KEY, "ab", "c") != keyed(KEY, "a", "bc")
    assert keyed(KEY, "ab") != keyed(b"j" * 32, "ab")
    assert keyed(KEY, "\ud800") == keyed(KEY, "?")


@pytest.mark.parametrize(
    "text",
    [
        "请检查仓库里所有货架上的库存数量并在今天下班之前把完整的报告发给我谢谢你",
        "倉庫のすべての棚にある在庫の数を確認して今日の終わりまでに報告を送ってください",
        "กรุณาตรวจสอบจำนวนสินค้าคงคลังในชั้นวางทั้งหมดของคลังสินค้าและส่งรายงานฉบับสมบูรณ์",
    ],
)
def test_a_text_without_spaces_has_words_and_its_pieces_are_found_where_it_is_pasted(text: str) -> None:
    key = b"k" * 32
    assert len(words_of(key, text)) >= 8
    text = "".join(random.Random(3).choices(text, k=250))
    pasted = set(pieces(key, [f"Your task: {text} -- end"]))
    own = pieces(key, [text])
    assert len(own) >= 3
    assert len(pasted & set(own)) >= len(own) - 2
    assert not pasted & set(pieces(key, [text[::-1]]))


def test_letters_with_accents_are_cut_as_before() -> None:
    assert len(words_of(b"k" * 32, "über die Häuser é")) == 4
