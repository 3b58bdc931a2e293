"""Token counts as the simulated vendors report them."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.simulator.tokens import (
    BYTES_PER_TOKEN,
    IMAGE_TOKENS_DEFAULT,
    bytes_of_tokens,
    decoded,
    tokens_of_answer,
    tokens_of_image,
    tokens_of_text,
)

VENDORS = sorted(BYTES_PER_TOKEN)


def png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def jpeg(width: int, height: int) -> bytes:
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF" + b"\x00" * 10
    return b"\xff\xd8" + app + b"\xff\xc0" + struct.pack(">HBHH", 17, 8, height, width) + b"\x03" * 10


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height)


def webp(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + sizes


def test_todays_claude_makes_more_tokens_of_a_text_than_a_llama() -> None:
    text = "The harbour master counts the boats each evening, and writes them down. " * 200
    ratio = tokens_of_text(text, "anthropic") / tokens_of_text(text, "openai")
    assert ratio == pytest.approx(1.28, abs=0.01)


@given(st.text(min_size=1, max_size=400), st.sampled_from(VENDORS))
def test_a_texts_own_grain_moves_its_count_by_six_per_cent_at_most(text: str, vendor: str) -> None:
    plain = len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN[vendor]
    assert max(1, int(plain * 0.94)) <= tokens_of_text(text, vendor) <= plain * 1.06 + 1


def test_nothing_is_no_token_and_an_answers_bytes_make_its_tokens() -> None:
    assert [tokens_of_text("", vendor) for vendor in VENDORS] == [0, 0, 0]
    for vendor in VENDORS:
        assert abs(tokens_of_answer("x" * bytes_of_tokens(500, vendor), vendor) - 500) <= 1


@pytest.mark.parametrize("made", [png, jpeg, gif, webp])
def test_a_pictures_size_is_read_from_any_format(made: object) -> None:
    assert callable(made)
    data = made(1_000, 600)
    assert tokens_of_image(data, "anthropic") == 1_000 * 600 // 750
    assert tokens_of_image(data, "google") == 258 * 2
    assert tokens_of_image(data, "openai") == 85 + 170 * 4


def test_large_pictures_are_bounded_small_ones_and_unknown_ones_have_their_price() -> None:
    assert tokens_of_image(png(20_000, 20_000), "anthropic") == 1_600
    assert tokens_of_image(png(20_000, 20_000), "openai") == 85 + 170 * 12
    assert tokens_of_image(png(300, 300), "google") == 258
    for vendor in VENDORS:
        for data in (None, b"", b"\xff\xd8\xff\xd9", b"no picture"):
            assert tokens_of_image(data, vendor) == IMAGE_TOKENS_DEFAULT[vendor]


def test_base64_is_read_strictly() -> None:
    assert decoded("eHg=") == b"xx"
    assert decoded("eHg") is None
    assert decoded("%%%%") is None
