"""The project's own prompts: easy and hard, in maths, code and talk, and a handbook of any length. All made up."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from random import Random
from typing import Any

MATHS = (
    "What is {a} plus {b}?",
    "A tank holds {a} litres and loses {c} per cent an hour. How many hours until less than a tenth is left?",
    "Prove that n^{c} - n is even for every integer n, and say for which odd exponents it is divisible by 6.",
    "Let X be uniform on [0, {a}] and Y exponential with mean {b}, independent. Derive the density of max(X, Y).",
    "In how many ways can {c} rooks stand on a {d} x {d} board so that none attacks another or is on a diagonal?",
    "Find all real x with sqrt(x + {a}) - sqrt(x - {b}) = {c}. Show each step and check the roots.",
    "Show that the series of 1 / (n log^{c} n) converges, and bound its tail after {a} terms.",
)
CODE = (
    "Write a one-line Python expression that reverses the words of a sentence of {a} words.",
    "Write a thread-safe LRU cache in Go with a capacity of {a} and expiry after {b} seconds. Explain the locking.",
    "This SQL takes {b} s on {a} million rows: SELECT user_id, MAX(t) FROM events GROUP BY user_id. Make it fast.",
    "Implement an LL(1) parser in Rust for sums and products; report an error's column. Write {c} tests.",
    "Design a lock-free single-producer queue of {a} slots in C11. Argue the memory order of each access.",
    "Rename the variable x to total_{a} in: for x in range({b}): print(x)",
    "Our service leaks {c} MB an hour in asyncio tasks. Write a diagnostic that names the leak, and a fix.",
)
CHAT = (
    "Say good morning in {c} languages.",
    "Suggest a name for a bakery on street number {a}.",
    "What is the capital of the country with dialling code {c}?",
    "Rewrite politely: send me report {a} now.",
    "Compare the arguments for and against a wealth tax of {c} per cent, with the strongest objection to each.",
    "A patient of {d} years on {c} medicines feels dizzy after standing up. Which causes do you rule out first?",
    "Draft a clause that limits liability to {a} euros but not for gross negligence, and explain its risks.",
)
BANKS = {"maths": MATHS, "code": CODE, "chat": CHAT}
QUESTIONS = (
    "Which section mentions the {noun}?",
    "Summarise what the handbook says about the {noun} in three sentences.",
    "Two sections disagree about the {noun}: find them, weigh them, and say which rule should win and why.",
    "List every number that the handbook gives for the {noun}.",
)
NOUNS = ("pump", "valve", "night shift", "harbour", "archive", "crane", "filter", "permit", "ferry", "meter", "boiler")
PLACES = ("north hall", "dry dock", "upper lock", "station", "south quay", "workshop", "control room")
VERBS = ("is checked", "must be closed", "may be moved", "is counted", "has to be reported", "is cleaned", "is sealed")
BLOCK_CHARACTERS = 2_100  # about 512 tokens

SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "town",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
            "required": ["name", "population"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def _png(width: int, height: int) -> str:
    """A grey picture as base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\x00" + b"\x80" * width) * height)
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(raw).decode()


IMAGE = {"url": f"data:image/png;base64,{_png(320, 200)}"}


def _call(number: int, name: str, arguments: dict[str, object]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}],
    }


OWN_AGENT: list[dict[str, Any]] = [
    {"role": "system", "content": "You run the order desk of a hardware shop. Look things up before you promise them."},
    {"role": "user", "content": "Where is my order 5512, and can you send a second one to my office?"},
    _call(1, "find_order", {"order_id": 5512}),
    {"role": "tool", "tool_call_id": "call_1", "content": '{"order_id": 5512, "state": "packed", "items": 3}'},
    _call(2, "find_addresses", {"customer": "k-77", "kind": "office"}),
    {"role": "tool", "tool_call_id": "call_2", "content": '{"addresses": ["Quay 4"]}'},
    {"role": "assistant", "content": "It is packed and leaves today. Shall the second one go to Quay 4?"},
    {"role": "user", "content": "Yes, as fast as possible, and tell me the price."},
    _call(3, "place_order", {"copy_of": 5512, "address": "Quay 4", "is_express": True}),
    {"role": "tool", "tool_call_id": "call_3", "content": '{"order_id": 5519, "price": 84.5}'},
    {"role": "assistant", "content": "Order 5519 costs 84.50 and arrives tomorrow."},
]


def hard_prompt(kind: str, draw: Random) -> str:
    """A prompt of the bank ``maths``, ``code`` or ``chat``, with numbers of its own."""
    numbers = {"a": draw.randrange(3, 5_000), "b": draw.randrange(2, 900), "c": draw.randrange(3, 40)}
    return draw.choice(BANKS[kind]).format(**numbers, d=draw.randrange(5, 95))


def question_about(draw: Random) -> str:
    """A question to the handbook."""
    return draw.choice(QUESTIONS).format(noun=draw.choice(NOUNS))


def document_block(seed: int, block: int) -> str:
    """About 512 tokens of the handbook; equal numbers give equal text."""
    draw = Random(f"{seed}:block:{block}")
    text = f"\nSection {block}. "
    while len(text) < BLOCK_CHARACTERS:
        text += (
            f"The {draw.choice(NOUNS)} of the {draw.choice(PLACES)} {draw.choice(VERBS)} after {draw.randrange(2, 900)}"
            f" hours, and the {draw.choice(NOUNS)} {draw.choice(VERBS)} by team {draw.randrange(1, 60)}. "
        )
    return text
