from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from router.answer_checks import CHECKS, failed_check
from router.chat import Message, ResponseFormat, Text, Thinking, Tool, ToolCall, ToolResult
from router.tokens import TokenUsage, Usage
from tests.builders import request_of
from tests.router.scripted import reply_of

if TYPE_CHECKING:
    from router.chat import Reply

WEATHER = Tool("weather", None, {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CLOCK = Tool("clock", None, {"type": "object", "properties": {}})
JSON = request_of(response_format=ResponseFormat("json_object"))
POINT = request_of(
    response_format=ResponseFormat(
        "json_schema", "point", {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    )
)
TOOLS = request_of(tools=(WEATHER, CLOCK))


def used(output: int) -> Usage:
    return Usage(TokenUsage(input_uncached=10, output_text=output))


def calls(*made: tuple[str, str]) -> Reply:
    parts = tuple(ToolCall(f"call_{index}", *each) for index, each in enumerate(made))
    return reply_of(parts=parts, finish_reason="tool_calls")


def test_a_good_answer_passes_everything_and_the_first_named_check_that_fails_is_told() -> None:
    assert failed_check(reply_of("Paris."), request_of(), CHECKS) is None
    empty = reply_of(" ", finish_reason="length")
    assert failed_check(empty, request_of(), ("empty", "truncation")) == "empty"
    assert failed_check(empty, request_of(), ("truncation", "empty")) == "truncation"
    assert failed_check(empty, request_of(), ("refusal",)) is None


# --- refusal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that request.",
        "I\u2019m sorry, but I can\u2019t assist with that.",
        "Sorry, but I cannot comply with this.",
        "I'm sorry, I can't help with that. Is there something else?",
        "I am unable to assist with that request.",
        "**I cannot provide this.**",
        "Unfortunately, I can't answer that.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Dabei kann ich Ihnen leider nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, mas não posso ajudar com isso.",
        "抱歉,我无法提供该信息。",
        "申し訳ありませんが、そのご要望にはお応えできません。",
    ],
)
def test_refusals_are_seen(text: str) -> None:
    assert failed_check(reply_of(text), request_of(), ("refusal",)) == "refusal"


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "",
        "I can't believe it is over: a poem.",
        "I'm sorry to hear that. Try restarting it.",
        "I'm sorry, but I can't come to your party on Friday.",
        "Sorry for the delay! Here is the list.",
        "You can say: I can't help with that request.",
        "I can't do better than O(n log n) here: any comparison sort needs it.",
        "Lo siento mucho por tu pérdida.",
        "Es tut mir leid, dass es regnet.",
        "I can't help with that dose, since it depends on your weight. In general, however, "
        + "adults take one. " * 30,
    ],
)
def test_answers_that_only_sound_like_one_are_not(text: str) -> None:
    assert failed_check(reply_of(text), request_of(), ("refusal",)) is None


def test_the_vendors_own_filter_is_a_refusal_whatever_it_says() -> None:
    assert failed_check(reply_of("", finish_reason="content_filter"), request_of(), CHECKS) == "refusal"


def test_words_beside_a_tool_call_are_no_refusal() -> None:
    reply = reply_of(parts=(Text("I can't help with that alone."), ToolCall("c", "clock", "")))
    assert failed_check(reply, TOOLS, CHECKS) is None


# --- truncation ------------------------------------------------------------------------------------------------------


def test_a_limit_that_is_not_the_callers_is_a_truncation() -> None:
    cut = reply_of("It was a dark", finish_reason="length", usage=used(50))
    assert failed_check(cut, request_of(), CHECKS) == "truncation"
    assert failed_check(cut, request_of(output_tokens_max=64), CHECKS) == "truncation", "the model ended before it"


def test_the_callers_own_limit_is_not() -> None:
    cut = reply_of("It was a dark", finish_reason="length", usage=used(50))
    assert failed_check(cut, request_of(output_tokens_max=50), CHECKS) is None
    unknown = reply_of("It was a dark", finish_reason="length", usage=None)
    assert failed_check(unknown, request_of(output_tokens_max=50), CHECKS) is None
    assert failed_check(reply_of("It was."), request_of(), CHECKS) is None


# --- schema ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"x": ', "[1]", "3", '```json\n{"x": 1}\n```', "Here it is: {}", "[" * 100_000])
def test_what_is_no_json_object_breaks_the_format(text: str) -> None:
    assert failed_check(reply_of(text), JSON, CHECKS) == "schema"


@pytest.mark.parametrize("text", ["{}", '{"x": "1"}', "[1]"])
def test_json_of_another_shape_breaks_the_schema(text: str) -> None:
    assert failed_check(reply_of(text), POINT, CHECKS) == "schema"


def test_json_that_was_asked_for_passes_and_text_is_not_judged() -> None:
    assert failed_check(reply_of(' {"x": 1}\n'), JSON, CHECKS) is None
    assert failed_check(reply_of('{"x": 1, "y": 2}'), POINT, CHECKS) is None
    assert failed_check(reply_of("{"), request_of(), CHECKS) is None
    assert failed_check(reply_of("{"), request_of(response_format=ResponseFormat()), CHECKS) is None


def test_json_that_the_callers_own_limit_cut_is_the_callers() -> None:
    cut = reply_of('{"x": ', finish_reason="length", usage=used(5))
    asked = request_of(response_format=ResponseFormat("json_object"), output_tokens_max=5)
    assert failed_check(cut, asked, CHECKS) is None


def test_a_call_in_place_of_json_is_a_turn_of_its_own() -> None:
    asked = request_of(response_format=ResponseFormat("json_object"), tools=(WEATHER,))
    assert failed_check(calls(("weather", '{"city": "Paris"}')), asked, CHECKS) is None


# --- tool calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        ("forecast", '{"city": "Paris"}'),
        ("weather", '{"city": '),
        ("weather", "[]"),
        ("weather", "{}"),
        ("weather", ""),
        ("weather", '{"town": "Paris"}'),
    ],
)
def test_a_call_that_cannot_be_made_is_seen(made: tuple[str, str]) -> None:
    assert failed_check(calls(("clock", "{}"), made), TOOLS, CHECKS) == "tool_call"


def test_a_call_that_can_be_made_passes_whatever_else_it_holds() -> None:
    made = calls(("weather", '{"city": 75001, "unit": "K"}'), ("clock", ""), ("clock", "{}"))
    assert failed_check(made, TOOLS, CHECKS) is None
    assert failed_check(reply_of("It is noon."), TOOLS, CHECKS) is None


# --- empty -----------------------------------------------------------------------------------------------------------


def test_an_answer_without_a_word_or_a_call_is_empty() -> None:
    assert failed_check(reply_of(" \n"), request_of(), CHECKS) == "empty"
    assert failed_check(reply_of(parts=()), request_of(), CHECKS) == "empty"
    assert failed_check(reply_of(parts=(Thinking("hm"),)), request_of(), CHECKS) == "empty"


def test_silence_that_may_be_wanted_is_not() -> None:
    asked = request_of()
    result = Message("tool", (ToolResult("call_1", (Text("saved"),)),))
    silent = reply_of("")
    assert failed_check(silent, request_of(messages=(*asked.messages, result)), CHECKS) is None
    assert failed_check(silent, request_of(stop=("\n",)), CHECKS) is None
    cut = reply_of("", finish_reason="length", usage=used(16))
    assert failed_check(cut, request_of(output_tokens_max=16), CHECKS) is None


# --- looping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["The answer is that the answer is, again, as said: ", "ha ", "巴黎是法国的首都。"])
def test_a_text_that_goes_round_in_circles_is_seen(unit: str) -> None:
    reply = reply_of("To begin with, a sentence of its own. " + unit * (2_000 // len(unit)))
    assert failed_check(reply, request_of(), ("looping",)) == "looping"


def test_a_text_that_was_cut_off_in_its_loop_needs_less() -> None:
    text = " ".join(f"Point {number} is unlike the others." for number in range(30)) + "and on and on, " * 240
    asked = request_of(output_tokens_max=500)
    assert failed_check(reply_of(text, finish_reason="length", usage=used(500)), asked, CHECKS) == "looping"
    assert failed_check(reply_of(text), asked, CHECKS) is None


def _table() -> str:
    return "\n".join(f"| row {number} | {number * number} | ok | ok | ok | ok |" for number in range(200))


def _code() -> str:
    return "\n".join(f"    assert area(Square(side={number})) == {number * number}" for number in range(200))


@pytest.mark.parametrize(
    "text",
    [
        _table(),
        _code(),
        json.dumps([{"id": number, "name": f"user-{number}", "active": True} for number in range(200)], indent=2),
        "na " * 200,
        "\n".join(f"Verse {number}, in which much is new:\n" + "row, row, row your boat\n" * 2 for number in range(60)),
    ],
    ids=["table", "code", "json", "short", "refrain"],
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_regular_text_is_no_loop(text: str, finish: Any) -> None:
    assert failed_check(reply_of(text, finish_reason=finish), request_of(), ("looping",)) is None


# --- logprobs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "failed"),
    [
        (math.log(0.79), "logprobs"),
        (math.log(0.81), None),
        (0.0, None),
        (1e308, None),
        (-1e308, "logprobs"),
        (None, None),
    ],
)
def test_an_answer_whose_tokens_were_not_likely_enough_is_unsure(mean: float | None, failed: str | None) -> None:
    reply = reply_of("Paris.", mean_logprob=mean)
    assert failed_check(reply, request_of(), ("refusal", "logprobs"), 0.8) == failed
    assert failed_check(reply, request_of(), ("refusal",), 0.8) is None
