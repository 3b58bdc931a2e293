"""Our bodies against those that litellm's transformation classes make of the same requests.

Every difference has its reason here: spellings and defaults that mean the same are normalised away, what is meant
otherwise is listed case by case, and a listed difference that is none any more fails.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import orjson
import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from router.providers import anthropic_body, gemini_body
from tests.router.providers.calls import FLASH, FLASH_25, HAIKU_45, OPUS, call_of
from tests.router.providers.corpus import CORPUS

SONNET_46 = "anthropic/claude-sonnet-4-6"
OPENING = "a conversation that starts with the assistant is refused: ours opens it with a user's `.`"
HOISTED = "litellm says a later system message inside the user's turn; ours hoists it, as the API's own field asks"
EMPTY = "an empty assistant message is refused: ours leaves it out, litellm invents words for it"
JSON_MODE = "there is no JSON mode: ours asks for it in words, litellm looks at its own `json_mode` flag afterwards"
BOUNDS = "bounds that the grammar cannot hold are told in the description, in other words than litellm's"
IDS = "ours tells two foreign ids that clean to the same apart"
LITTLE = "what always thinks is asked to think little where no thinking was asked for; litellm leaves the default"
MINIMAL = "thinking as little as the whole 2.5 family accepts; litellm sends one token"
EITHER = "before Gemini 3, functions and structured output exclude each other (400): ours asks for the schema in words"
DETAIL = "`detail` is advice: ours leaves Gemini's own resolution"
GAP = "kept away from this wire by `router.wires`: ours says it all the same, litellm leaves it out"
BY_POLICY = "refused by the model: `drop` in the policy decides (X-Router-Dropped), litellm's class leaves it out"
UNCOMPUTED = "`output_tokens_max` of 512 leaves no room for a budget of at least 1,024: no thinking"

# model -> case -> (what differs, why)
ACCEPTED: dict[str, dict[str, tuple[frozenset[str], str]]] = {
    SONNET_46: {
        "late_system": (frozenset({"messages", "system"}), HOISTED),
        "assistant_first": (frozenset({"messages"}), OPENING),
        "empty_assistant": (frozenset({"messages"}), EMPTY),
        "json_object": (frozenset({"system"}), JSON_MODE),
        "json_schema_bounded": (frozenset({"output_config"}), BOUNDS),
        "foreign_ids": (frozenset({"messages"}), IDS),
    },
    FLASH: {
        "assistant_first": (frozenset({"contents"}), OPENING),
        "empty_assistant": (frozenset({"contents"}), EMPTY),
        "penalties": (frozenset({"generationConfig"}), GAP),
        "image_detail": (frozenset({"contents"}), DETAIL),
    },
}
ACCEPTED[OPUS] = ACCEPTED[SONNET_46] | {
    "effort_none": (frozenset({"output_config"}), LITTLE),
    "temperature": (frozenset({"temperature"}), BY_POLICY),
    "temperature_zero": (frozenset({"temperature"}), BY_POLICY),
    "top_p": (frozenset({"top_p"}), BY_POLICY),
    "tool_named": (frozenset({"tool_choice"}), BY_POLICY),
    "tool_required": (frozenset({"tool_choice"}), BY_POLICY),
}
ACCEPTED[HAIKU_45] = ACCEPTED[SONNET_46] | {
    f"effort_{word}": (frozenset({"thinking"}), UNCOMPUTED) for word in ("minimal", "low", "medium", "high")
}
ACCEPTED[FLASH_25] = {
    "assistant_first": ACCEPTED[FLASH]["assistant_first"],
    "empty_assistant": ACCEPTED[FLASH]["empty_assistant"],
    "effort_minimal": (frozenset({"generationConfig"}), MINIMAL),
    "image_detail": (frozenset({"generationConfig"}), DETAIL),
    "schema_and_tools": (frozenset({"generationConfig", "systemInstruction"}), EITHER),
}
# There is nothing to compare with: litellm raises, or would fetch the image itself (ours has the gap `image_url`).
INCOMPARABLE = {(OPUS, "top_k"), (FLASH, "image_url"), (FLASH_25, "image_url")}
COMPARED = [
    (model, name)
    for model in (OPUS, SONNET_46, HAIKU_45, FLASH, FLASH_25)
    for name in sorted(CORPUS)
    if (model, name) not in INCOMPARABLE
]
# Settings at which litellm spells out the API's default.
DEFAULTS_SPELLED_OUT = ({"type": "auto"}, {"type": "auto", "disable_parallel_tool_use": False})


def same_json(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, default=str))


def litellm_anthropic(model: str, body: dict[str, Any]) -> dict[str, Any]:
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    given = copy.deepcopy(body)
    messages = given.pop("messages")
    given["max_tokens"] = given.pop("max_completion_tokens", given.get("max_tokens", 512))
    config = AnthropicConfig()
    optional = config.map_openai_params(given, {}, model, drop_params=True)
    if "top_k" in given:
        optional["top_k"] = given["top_k"]
    return same_json(config.transform_request(model, messages, optional, {}, {}))


def litellm_gemini(model: str, body: dict[str, Any]) -> dict[str, Any]:
    from litellm.llms.gemini.chat.transformation import GoogleAIStudioGeminiConfig
    from litellm.llms.vertex_ai.gemini.transformation import _transform_request_body

    given = copy.deepcopy(body)
    messages = given.pop("messages")
    given["max_tokens"] = given.pop("max_completion_tokens", given.get("max_tokens", 512))
    optional = GoogleAIStudioGeminiConfig().map_openai_params(given, {}, model, True)  # type: ignore[arg-type]
    if "top_k" in given:
        optional["top_k"] = given["top_k"]
    return same_json(
        _transform_request_body(
            messages=messages,
            model=model,
            optional_params=optional,
            custom_llm_provider="gemini",
            litellm_params={},
            cached_content=None,
        )
    )


def normal_anthropic(body: dict[str, Any]) -> dict[str, Any]:
    """What says the same: tools are `custom` by default, a lone text stands for its block, 5m is the default ttl."""
    body.pop("json_mode", None)  # litellm's own flag, never sent
    for tool in body.get("tools", []):
        assert tool.pop("type", "custom") == "custom"
    if body.get("tool_choice") in DEFAULTS_SPELLED_OUT:
        del body["tool_choice"]
    if "output_format" in body:  # the older name of the same setting
        body.setdefault("output_config", {})["format"] = body.pop("output_format")
    body.get("thinking", {}).pop("display", None)  # whether thoughts are shown: ours leaves them out
    blocks = [
        *body.get("tools", []),
        *body.get("system", []),
        *(block for turn in body["messages"] for block in turn["content"]),
    ]
    for block in blocks:
        if isinstance(block.get("content"), str):
            block["content"] = [{"type": "text", "text": block["content"]}]
        if block.get("cache_control") == {"type": "ephemeral"}:
            block["cache_control"]["ttl"] = "5m"
    return body


def normal_gemini(body: dict[str, Any]) -> dict[str, Any]:
    """What says the same: snake case is camel case, a schema is a schema by either name."""
    body = camel(body)
    generation = body["generationConfig"]
    if generation.get("temperature") == 1.0:  # Gemini 3's default, which litellm spells out
        del generation["temperature"]
    if generation.get("responseMimeType") == "text/plain":
        del generation["responseMimeType"]
    generation.get("thinkingConfig", {}).pop("includeThoughts", None)  # whether thoughts are shown: ours are not
    for tools in body.get("tools", []):
        for function in tools["functionDeclarations"]:
            schema = function.pop("parametersJsonSchema", None) or function.pop("parameters", None)
            if schema is not None and not schema.get("properties"):
                schema.pop("properties", None)
            function["schema"] = schema
    if "systemInstruction" in body:  # parts of one prompt, however cut
        body["systemInstruction"] = "".join(part["text"] for part in body["systemInstruction"]["parts"])
    for turn in body["contents"]:
        for part in turn["parts"]:
            response = part.get("functionResponse", {}).get("response", {})
            for name in ("result", "content"):  # a free-form key; parts of a text are lines of it or not
                if name in response:
                    part["functionResponse"]["response"] = response[name].replace("\n", "")
    return body


def camel(value: Any) -> Any:
    """Keys in Google's own spelling, but for what stands in arguments, results and schemas."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        head, *rest = key.split("_")
        is_callers = key in ("args", "response", "parameters", "parametersJsonSchema", "response_json_schema")
        found[head + "".join(part.title() for part in rest)] = inner if is_callers else camel(inner)
    return found


def differences(model: str, name: str) -> set[str]:
    body = CORPUS[name]
    limit = body.get("max_tokens", body.get("max_completion_tokens", 512))
    call = call_of(model, copy.deepcopy(body), output_tokens_max=limit)
    vendor_model = call.deployment.model.vendor_model
    if call.deployment.model.wire == "anthropic":
        ours = normal_anthropic(same_json(anthropic_body.body_of(call, is_streamed=False)))
        theirs = normal_anthropic(litellm_anthropic(vendor_model, body))
    else:
        ours = normal_gemini(same_json(gemini_body.body_of(call)))
        theirs = normal_gemini(litellm_gemini(vendor_model, body))
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("model", "name"), COMPARED)
def test_a_body_is_litellms_but_for_the_listed_differences(model: str, name: str) -> None:
    accepted, reason = ACCEPTED[model].get(name, (frozenset(), ""))
    assert differences(model, name) == accepted, reason


def test_the_corpus_is_wide_enough() -> None:
    assert len(CORPUS) >= 40
