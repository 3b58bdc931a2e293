"""What a request costs before anybody is asked grows with its size and no faster, whatever is repeated in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from router.chat import Message, Text, ToolCall
from router.chunks import chunks_of
from router.providers.anthropic_turns import Renderer
from router.trim import query_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def lines_run_by(work: Callable[[], object]) -> int:
    """How many lines of Python the work runs, each turn of a loop counted: its time, but the same on every machine."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        del frame, arg
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def parts_of(count: int) -> Callable[[], object]:
    message = Message("user", tuple(Text(f"part {number}") for number in range(count)))
    return lambda: chunks_of([message])


def turns_of(count: int) -> Callable[[], object]:
    messages = [Message("user", (Text(f"<doc>{number}</doc> ?"),)) for number in range(count)]
    chunks = chunks_of(messages)
    assert len(chunks) == count
    return lambda: query_of(messages, chunks)


def calls_of(count: int) -> Callable[[], object]:
    messages = [Message("assistant", (ToolCall("c", "f", "{}"),)) for _ in range(count)]
    return lambda: Renderer().turns(messages, ())


def calls_of_two(count: int) -> Callable[[], object]:
    taken = [f"c_{number}" for number in range(2, count // 2)]
    messages = [Message("assistant", (ToolCall(each, "f", "{}"),)) for each in [*taken, *["c"] * (count // 2)]]
    return lambda: Renderer().turns(messages, ())


@pytest.mark.parametrize("work_of", [parts_of, turns_of, calls_of, calls_of_two])
def test_four_times_as_much_is_about_four_times_the_work(work_of: Callable[[int], Callable[[], object]]) -> None:
    few, many = lines_run_by(work_of(100)), lines_run_by(work_of(400))
    assert many < 6 * few, (few, many)


def test_an_id_that_comes_again_stays_unique_also_among_ids_that_look_like_ours() -> None:
    messages = [Message("assistant", (ToolCall(each, "f", "{}"),)) for each in ("c", "c_2", "c", "c", "c_2", "c")]
    (_, turn) = Renderer().turns(messages, ())
    ids = [block["id"] for block in turn["content"]]  # type: ignore[attr-defined]
    assert ids == ["c", "c_2", "c_3", "c_4", "c_2_2", "c_5"]
