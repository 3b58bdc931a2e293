from __future__ import annotations

from typing import Any

import pytest

from router.chat import Image, Message, Request, Sampling, Text, Tool, ToolResult
from router.wires import ANTHROPIC_IMAGE_BASE64_MAX, refused_gaps, wire_gaps
from tests.builders import request_of

BASE64 = Image(media_type="image/png", data="aGk=")
HTTPS = Image(url="https://example.com/a.png")
TOOL = Tool("f", None, {})


def with_parts(*parts: Any, role: Any = "user") -> Request:
    return request_of(messages=(Message(role, parts), Message("user", (Text("x"),))))


CASES: list[tuple[str, Request, tuple[str, ...], tuple[str, ...]]] = [
    # name, request, gaps of anthropic, gaps of gemini
    ("plain", request_of(), (), ()),
    ("base64", with_parts(BASE64), (), ()),
    ("https", with_parts(HTTPS), (), ("image_url",)),
    ("http", with_parts(Image(url="http://example.com/a.png")), ("image_url",), ("image_url",)),
    ("gif", with_parts(Image(media_type="image/gif", data="aGk=")), (), ("image_type",)),
    ("heic", with_parts(Image(media_type="image/heic", data="aGk=")), ("image_type",), ()),
    (
        "large",
        with_parts(Image(media_type="image/png", data="a" * (ANTHROPIC_IMAGE_BASE64_MAX + 1))),
        ("image_size",),
        (),
    ),
    ("largest", with_parts(Image(media_type="image/png", data="a" * ANTHROPIC_IMAGE_BASE64_MAX)), (), ()),
    ("system image", with_parts(BASE64, role="system"), ("image_role",), ("image_role",)),
    ("assistant image", with_parts(BASE64, role="assistant"), ("image_role",), ("image_role",)),
    ("tool image", with_parts(ToolResult("c", (HTTPS,)), role="tool"), (), ("image_url",)),
    ("seed", request_of(sampling=Sampling(seed=0)), ("seed",), ()),
    ("penalty", request_of(sampling=Sampling(frequency_penalty=0.1)), ("frequency_penalty",), ("frequency_penalty",)),
    ("no penalty", request_of(sampling=Sampling(presence_penalty=0.0)), (), ()),
    ("stop", request_of(stop=("\n",)), ("stop_whitespace",), ()),
    ("stops", request_of(stop=tuple("abcdef")), (), ("stop_count",)),
    ("one call", request_of(tools=(TOOL,), allows_parallel_tools=False), (), ("parallel_tool_calls",)),
    ("one call, no tools", request_of(allows_parallel_tools=False), (), ()),
    ("logprobs", request_of(extra={"logprobs": True}), ("logprobs",), ("logprobs",)),
    ("no logprobs", request_of(extra={"logprobs": False}), (), ()),
    ("text", request_of(extra={"modalities": ["text"]}), (), ()),
    ("speech", request_of(extra={"modalities": ["text", "audio"]}), ("modalities",), ("modalities",)),
    ("advice", request_of(extra={"store": True, "service_tier": "auto", "prompt_cache_key": "k"}), (), ()),
    ("a host's own", request_of(extra={"min_p": 0.1, "top_a": None}), ("min_p",), ("min_p",)),
    ("no name", request_of(extra={"What is it?": 1}), ("unknown_field",), ("unknown_field",)),
]


@pytest.mark.parametrize(("request_", "anthropic", "gemini"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_gaps_are_what_the_wire_has_no_word_for(
    request_: Request, anthropic: tuple[str, ...], gemini: tuple[str, ...]
) -> None:
    assert wire_gaps(request_, "anthropic") == anthropic
    assert wire_gaps(request_, "gemini") == gemini


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("wire", ["openai", "litellm"])
def test_the_callers_own_wire_has_none(case: Any, wire: Any) -> None:
    assert wire_gaps(case[1], wire) == ()


@pytest.mark.parametrize(
    ("request_", "openai", "groq", "cerebras"),
    [
        (request_of(), (), (), ()),
        (request_of(sampling=Sampling(top_k=0)), ("top_k",), ("top_k",), ("top_k",)),
        (request_of(sampling=Sampling(presence_penalty=1.0)), (), (), ("presence_penalty",)),
        (request_of(sampling=Sampling(frequency_penalty=0.0)), (), (), ()),
        (request_of(extra={"logprobs": True}), (), ("logprobs",), ()),
        (request_of(extra={"logprobs": False, "logit_bias": {}}), (), (), ()),
        (request_of(extra={"logit_bias": {"1": 2}}), (), ("logit_bias",), ("logit_bias",)),
        (request_of(tools=(TOOL,), allows_parallel_tools=False), (), (), ("parallel_tool_calls",)),
        (request_of(tools=(TOOL,), allows_parallel_tools=True), (), (), ()),
    ],
)
def test_a_host_of_open_models_may_refuse_what_its_api_has_a_word_for(
    request_: Request, openai: tuple[str, ...], groq: tuple[str, ...], cerebras: tuple[str, ...]
) -> None:
    nothing: frozenset[str] = frozenset()
    assert refused_gaps(request_, "openai", nothing) == openai
    assert refused_gaps(request_, "groq", nothing) == groq
    assert refused_gaps(request_, "cerebras", nothing) == cerebras
    assert refused_gaps(request_, "together_ai", nothing) == ()
    assert refused_gaps(request_, "together_ai", frozenset(cerebras)) == cerebras, "by the model's card"
