"""How much of an answer is seen in frames that pass as they are, whatever their host writes beside it."""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import RawFrames, StreamEvent
from router.providers.openai_answer import OpenAiEvents

FILTERS = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
GROQ = {"x_groq": {"id": "req_01kabcdefghijklmnopqrstuvw"}}
AZURE = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERS}]}
OPENING = {"role": "assistant", "content": ""}
TEXT = "the quick brown fox jumps over a lazy dog and then some more of it " * 3


def frame(delta: dict[str, Any] | None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **more, "choices": choices}
    return b"data: " + orjson.dumps(data) + b"\n\n"


def seen_bytes(*blocks: bytes, is_exact: bool = False) -> int:
    """What is counted of the answer, where each block arrives for itself."""
    parser, events = OpenAiEvents("meta", is_raw=True, is_exact=is_exact), deque[StreamEvent]()
    for block in blocks:
        parser.feed(block, events)
    passed = b"".join(event.data for event in events if isinstance(event, RawFrames))
    assert b"".join(blocks).endswith(passed)
    return sum(event.output_bytes for event in events if isinstance(event, RawFrames))


@pytest.mark.parametrize(
    "first",
    [
        [frame(OPENING)],
        [frame(OPENING, **GROQ)],
        [frame(OPENING, **GROQ, **AZURE)],
        [frame(None, **AZURE), frame(OPENING)],
        [frame(None, **AZURE), frame(OPENING, **GROQ), frame({"content": "Well"}, **GROQ)],
        [frame(OPENING, **AZURE), *[frame({"content": "Well"}, **AZURE)] * 3],
    ],
)
@pytest.mark.parametrize("is_exact", [False, True])
@pytest.mark.parametrize("per_read", [1, 40])
def test_what_only_first_frames_carry_hides_nothing_of_those_behind(
    first: list[bytes], is_exact: bool, per_read: int
) -> None:
    rest = [frame({"content": TEXT}) * per_read for _ in range(120 // per_read)]
    counted = seen_bytes(*first, *rest, is_exact=is_exact)
    least = 1.0 if is_exact else 0.9
    assert least * 120 * len(TEXT) <= counted <= 1.05 * 120 * len(TEXT)
    together = seen_bytes(b"".join((*first, *rest)), is_exact=is_exact)
    assert least * 120 * len(TEXT) <= together <= 1.05 * 120 * len(TEXT)


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
deltas = st.one_of(
    st.fixed_dictionaries({"content": texts}),
    st.fixed_dictionaries({"reasoning_content": texts}),
    st.fixed_dictionaries({"reasoning_details": st.lists(st.fixed_dictionaries({"text": texts}), max_size=3)}),
    texts.map(lambda text: {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": text}}]}),
    st.just({}),
)
extras = st.dictionaries(st.sampled_from(["x_groq", "prompt_filter_results", "p", "obfuscation"]), texts, max_size=4)


def text_bytes_of(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(text_bytes_of(each) for each in inner)


@given(said=st.lists(st.tuples(deltas, extras), min_size=1, max_size=12), cut=st.integers(0, 12))
def test_where_money_hangs_on_it_no_byte_of_an_answer_goes_uncounted(
    said: list[tuple[dict[str, Any], dict[str, str]]], cut: int
) -> None:
    """Whatever a host writes beside the answer, in whichever frame, and however many frames come in one read."""
    made = [frame(delta, **extra) for delta, extra in said]
    blocks = [block for block in (b"".join(made[:cut]), b"".join(made[cut:])) if block]
    truth = sum(text_bytes_of(delta) for delta, _ in said)
    assert truth <= seen_bytes(*blocks, is_exact=True) <= truth + 4 * len(said)
