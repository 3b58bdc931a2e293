"""Token counts as the simulated vendors report them: deterministic estimates from bytes.

The constants are the simulator's own. They keep the one ratio that matters to costs: today's Claude tokenizer yields
about 1.28 times the tokens of a Llama one for the same text. A text's own "grain" moves its count by up to 6 %, so
that a caller's estimate is never exactly right, as with real tokenizers.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib

BYTES_PER_TOKEN: dict[str, float] = {"anthropic": 3.28, "google": 4.3, "openai": 4.2}
MESSAGE_TOKENS: dict[str, int] = {"anthropic": 4, "google": 2, "openai": 5}
TOOLS_TOKENS: dict[str, int] = {"anthropic": 313, "google": 30, "openai": 60}
IMAGE_TOKENS_DEFAULT: dict[str, int] = {"anthropic": 1365, "google": 1032, "openai": 765}
PDF_PAGE_BYTES = 60_000

_PNG = b"\x89PNG\r\n\x1a\n"


def tokens_of_text(text: str, vendor: str) -> int:
    """How many tokens the vendor counts for a prompt's text."""
    if not text:
        return 0
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    grain = zlib.crc32(text[:64].encode("utf-8", "surrogatepass")) % 13 - 6
    return max(1, int(size * (100 + grain) / (100 * BYTES_PER_TOKEN[vendor]) + 0.999))


def tokens_of_answer(text: str, vendor: str) -> int:
    """How many tokens the vendor bills for generated text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return int(size / BYTES_PER_TOKEN[vendor] + 0.999)


def bytes_of_tokens(tokens: float, vendor: str) -> int:
    """How many bytes of generated text make so many tokens."""
    return int(tokens * BYTES_PER_TOKEN[vendor])


def tokens_of_image(data: bytes | None, vendor: str) -> int:
    """How many tokens the vendor counts for an image; without its bytes (a URL), for one of ordinary size.

    Anthropic: width x height / 750. Google: 258 a tile of 768 x 768. The host: 85 and 170 a tile of 512 x 512.
    """
    size = _image_size(data) if data else None
    if size is None:
        return IMAGE_TOKENS_DEFAULT[vendor]
    width, height = size
    if vendor == "anthropic":
        scale = min(1.0, 1568 / max(width, height, 1))
        return max(1, min(1600, int(width * scale * height * scale / 750)))
    if vendor == "google":
        if max(width, height) <= 384:  # noqa: PLR2004 - Google's smallest tile
            return 258
        return 258 * max(1, -(-width // 768)) * max(1, -(-height // 768))
    return 85 + 170 * min(12, max(1, -(-width // 512)) * max(1, -(-height // 512)))


def decoded(text: str) -> bytes | None:
    """The bytes of a base64 text, or None when it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from the header of a PNG, GIF, WebP or JPEG file."""
    if data.startswith(_PNG) and len(data) >= 24:  # noqa: PLR2004 - signature, length, name, two sizes
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:3] == b"GIF" and len(data) >= 10:  # noqa: PLR2004
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30:  # noqa: PLR2004
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return _jpeg_size(data) if data[:2] == b"\xff\xd8" else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 - every JPEG segment starts with 0xFF
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004 - start of frame
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
