from __future__ import annotations

from router.chat import Image, Message, Sampling, Text, ToolCall, ToolResult
from tests.builders import request_of

FIRST, SECOND = Image(url="https://example.com/1.png"), Image(url="https://example.com/2.png")


def test_images_are_found_in_messages_and_in_what_tools_answered_in_order() -> None:
    request = request_of(
        messages=(
            Message("user", (Text("look"), FIRST)),
            Message("assistant", (ToolCall("c", "f", "{}"),)),
            Message("tool", (ToolResult("c", (Text("here"), SECOND)),)),
        )
    )
    assert request.images == (FIRST, SECOND)
    assert request_of().images == ()


def test_caching_is_asked_for_by_any_marked_text() -> None:
    marked = request_of(messages=(Message("system", (Text("long", cache="1h"),)), Message("user", (Text("x"),))))
    assert marked.asks_for_caching
    assert not request_of().asks_for_caching
    assert not request_of(messages=(Message("user", (FIRST,)),)).asks_for_caching


def test_zero_is_a_setting_and_none_is_not() -> None:
    assert Sampling(temperature=0.0, seed=0).names() == ("temperature", "seed")
    assert Sampling().names() == ()
