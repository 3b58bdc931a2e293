from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Any

import jsonschema
import orjson
import pytest

from tests.router.simulator.conftest import FLASH, FLASH_OLD, Wires

ASK = {"contents": [{"role": "user", "parts": [{"text": "Say something about harbours."}]}]}
WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
}
TOOLS = [{"functionDeclarations": [WEATHER]}]


async def test_an_answer_and_its_bill(wires: Wires) -> None:
    status, answer = await wires.gemini(FLASH, ASK | {"systemInstruction": {"parts": [{"text": "Be brief."}]}})
    assert status == 200
    assert answer["candidates"][0]["finishReason"] == "STOP"
    usage = answer["usageMetadata"]
    output = usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + output
    (line,) = await wires.bill("gemini")
    micro = usage["promptTokenCount"] * Decimal("0.75") + output * Decimal("3.75")
    assert Decimal(line["cost_usd"]) == micro / 1_000_000


async def test_a_stream_ends_with_the_billed_usage(wires: Wires) -> None:
    for action in ("streamGenerateContent?alt=sse", "streamGenerateContent"):
        _, raw = await wires.gemini(FLASH, ASK, action)
        is_sse = "sse" in action
        chunks = [orjson.loads(part[6:]) for part in raw.split(b"\r\n\r\n") if part] if is_sse else raw
        assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
        line = (await wires.bill("gemini"))[-1]
        assert line["streamed"] is True
        assert chunks[-1]["usageMetadata"] == line["usage"]


async def test_tools_by_schema_and_by_mode(wires: Wires) -> None:
    asked = ASK | {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}
    _, answer = await wires.gemini(FLASH_OLD, asked)
    calls = [part["functionCall"] for part in answer["candidates"][0]["content"]["parts"] if "functionCall" in part]
    assert calls
    for call in calls:
        assert isinstance(call["args"]["city"], str)
    asked["toolConfig"] = {"functionCallingConfig": {"mode": "NONE"}}
    _, answer = await wires.gemini(FLASH_OLD, asked)
    assert "text" in answer["candidates"][0]["content"]["parts"][0]


async def test_gemini_3_wants_its_thought_signature_back(wires: Wires) -> None:
    _, answer = await wires.gemini(FLASH, {"contents": [{"parts": [{"text": "the weather in Oslo"}]}], "tools": TOOLS})
    said = answer["candidates"][0]["content"]
    assert said["parts"][0]["thoughtSignature"]
    results = [
        {"functionResponse": {"name": part["functionCall"]["name"], "response": {"ok": 1}}} for part in said["parts"]
    ]
    turns = [{"parts": [{"text": "the weather in Oslo"}]}, said, {"role": "user", "parts": results}]
    assert (await wires.gemini(FLASH, {"contents": turns, "tools": TOOLS}))[0] == 200
    del said["parts"][0]["thoughtSignature"]
    status, answer = await wires.gemini(FLASH, {"contents": turns, "tools": TOOLS})
    assert status == 400
    assert "thought_signature" in answer["error"]["message"]
    assert (await wires.gemini(FLASH_OLD, {"contents": turns, "tools": TOOLS}))[0] == 200


async def test_structured_output_in_both_schema_languages(wires: Wires) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for key in ("responseSchema", "responseJsonSchema"):
        config = {"responseMimeType": "application/json", key: schema}
        _, answer = await wires.gemini(FLASH, ASK | {"generationConfig": config})
        jsonschema.validate(json.loads(answer["candidates"][0]["content"]["parts"][0]["text"]), schema)


async def test_long_prefixes_are_cached_without_being_asked_for(wires: Wires) -> None:
    long = {"contents": [{"role": "user", "parts": [{"text": "Facts. " * 4000}]}, *ASK["contents"]]}
    first, second = [(await wires.gemini(FLASH, long))[1]["usageMetadata"] for _ in range(2)]
    assert "cachedContentTokenCount" not in first
    assert 5000 < second["cachedContentTokenCount"] < second["promptTokenCount"]
    short = [(await wires.gemini(FLASH, ASK))[1]["usageMetadata"] for _ in range(2)]
    assert all("cachedContentTokenCount" not in usage for usage in short)


async def test_thinking_can_be_turned_off_where_the_model_allows_it(wires: Wires) -> None:
    config = {"thinkingConfig": {"thinkingBudget": 0}}
    _, answer = await wires.gemini(FLASH_OLD, ASK | {"generationConfig": config})
    assert "thoughtsTokenCount" not in answer["usageMetadata"]
    assert (await wires.gemini("gemini-2.5-pro", ASK | {"generationConfig": config}))[0] == 400


async def test_the_limit_holds_for_thoughts_and_text_together(wires: Wires) -> None:
    _, answer = await wires.gemini(FLASH, ASK | {"generationConfig": {"maxOutputTokens": 5}})
    usage = answer["usageMetadata"]
    assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0) == 5


CALL = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [*ASK["contents"], CALL, *ASK["contents"]]}, "number of function response parts"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/bmp", "data": "eA=="}}]}]}, "Unsupported MIME"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}]}, "Base64"),
        ({"model_name": "x"}, 'Unknown name "modelName"'),
        ({"generationConfig": {"max_tokens": 5}}, "Unknown name \"maxTokens\" at 'generation_config'"),
        ({"generationConfig": {"temperature": 0.2}}, "not supported by this model"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "must be positive"),
        ({"generationConfig": {"maxOutputTokens": 65537}}, "supported range"),
        ({"generationConfig": {"candidateCount": 2}}, "Multiple candidates"),
        ({"generationConfig": {"stopSequences": ["a"] * 6}}, "at most 5"),
        ({"generationConfig": {"responseSchema": {"type": "object"}}}, "response mimetype"),
        (
            {"generationConfig": {"responseMimeType": "application/json", "responseSchema": {"$ref": "#"}}},
            "$ref",
        ),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"additionalProperties": False}}]}]},
            "additionalProperties",
        ),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "minimal"}}}, "MINIMAL"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"$ref": "x"}}]}]}, "$ref"),
        (
            {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["no"]}}},
            "subset",
        ),
    ],
)
async def test_refuses_in_googles_shape(wires: Wires, changes: dict[str, Any], said: str) -> None:
    status, answer = await wires.gemini(FLASH, ASK | changes)
    assert (status, answer["error"]["status"], answer["error"]["code"]) == (400, "INVALID_ARGUMENT", 400)
    assert said in answer["error"]["message"]
    assert await wires.bill("gemini") == []


async def test_who_and_what_is_unknown(wires: Wires) -> None:
    assert (await wires.gemini(FLASH, ASK, **{"x-goog-api-key": ""}))[0] == 403
    assert (await wires.gemini("gemini-none", ASK))[0] == 404
    assert (await wires.gemini(FLASH, ASK, "embedContent"))[0] == 404


async def test_litellm_reads_answer_stream_and_tools(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litellm

        common: dict[str, Any] = {
            "model": f"gemini/{FLASH}",
            "api_key": "k",
            "api_base": f"{wires.sim.gemini_url}/v1beta",
            "messages": [{"role": "user", "content": "Say something about harbours."}],
        }
        made = await litellm.acompletion(**common)
        line = (await wires.bill("gemini"))[0]
        assert made.usage.prompt_tokens == line["usage"]["promptTokenCount"]
        assert made.usage.total_tokens == line["usage"]["totalTokenCount"]
        stream = await litellm.acompletion(**common, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text.strip()
