"""What Google's generateContent API refuses about a request's shape, in its own words (late 2026)."""

from __future__ import annotations

from typing import Any

from router.simulator.refusals import TOOL_NAME, Body, invalid, is_int, is_number, require

TOP_LEVEL = frozenset(
    {
        *("contents", "tools", "toolConfig", "safetySettings", "systemInstruction", "generationConfig"),
        *("cachedContent", "model", "store", "serviceTier"),
    }
)
GENERATION = frozenset(
    {
        *("stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema"),
        *("responseModalities", "candidateCount", "maxOutputTokens", "temperature", "topP", "topK", "seed"),
        *("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "enableEnhancedCivicAnswers"),
        *("speechConfig", "thinkingConfig", "imageConfig", "mediaResolution"),
    }
)
PART = frozenset(
    {
        *("text", "inlineData", "fileData", "functionCall", "functionResponse", "thought", "thoughtSignature"),
        *("executableCode", "codeExecutionResult", "videoMetadata", "mediaResolution", "partMetadata"),
    }
)
SCHEMA = frozenset(
    {
        *("type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties"),
        *("required", "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf"),
        *("propertyOrdering", "default", "items", "minimum", "maximum"),
    }
)
TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL", "TYPE_UNSPECIFIED"})
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif"})
STOPS_MAX = 5


def require_known(body: object, known: frozenset[str], place: str) -> Body:
    """The object itself, in camelCase (both spellings are taken); refused with a field that the API does not have."""
    require(isinstance(body, dict), f"Invalid value at '{place}'")
    given: Body = camel_keys(body) if isinstance(body, dict) else {}
    extra = sorted(given.keys() - known)
    if extra:
        at = f" at '{place}'" if place else ""
        raise invalid(f'Invalid JSON payload received. Unknown name "{extra[0]}"{at}: Cannot find field.')
    return given


def camel_keys(body: Body) -> Body:
    """The same object with snake_case keys as camelCase: Google's JSON takes both."""
    if not any("_" in key[1:] for key in body):
        return body
    return {_camel(key): value for key, value in body.items()}


def _camel(key: str) -> str:
    head, *rest = key.split("_") if not key.startswith("_") else [key]
    return head + "".join(part.title() for part in rest)


def check_schema(schema: object, place: str, depth: int = 0) -> None:
    """Refuse what Google's subset of OpenAPI schemas does not have (`additionalProperties`, `$ref`, type lists)."""
    require(depth < 32, f"Invalid value at '{place}': schema is too deep")  # noqa: PLR2004
    known = require_known(schema, SCHEMA, place)
    kind = known.get("type")
    if kind is not None:
        is_sound = isinstance(kind, str) and kind.upper() in TYPES
        require(
            is_sound, f"Invalid value at '{place}.type' (type.googleapis.com/google.ai.generativelanguage.v1beta.Type)"
        )
    properties = known.get("properties") or {}
    require(isinstance(properties, dict), f"Invalid value at '{place}.properties'")
    for name, sub in properties.items():
        check_schema(sub, f"{place}.properties[{name}]", depth + 1)
    required = known.get("required") or []
    require(isinstance(required, list), f"Invalid value at '{place}.required'")
    for name in required:
        require(
            isinstance(name, str) and name in properties,
            f"* GenerateContentRequest.{place}.required: property is not defined: {name}",
        )
    if "items" in known:
        check_schema(known["items"], f"{place}.items", depth + 1)
    branches = known.get("anyOf") or []
    require(isinstance(branches, list), f"Invalid value at '{place}.any_of'")
    for index, sub in enumerate(branches):
        check_schema(sub, f"{place}.any_of[{index}]", depth + 1)


def check_generation(config: Body) -> None:
    """Refuse settings of the wrong type or out of range."""
    for name, high in (("temperature", 2), ("topP", 1), ("topK", 1000)):
        value = config.get(name)
        if value is not None:
            require(is_number(value), f"Invalid value at 'generation_config.{name}' (TYPE_FLOAT)")
            require(
                0 <= value <= high,
                f"* GenerateContentRequest.generation_config.{name}: must be in the range [0, {high}]",
            )
    limit = config.get("maxOutputTokens")
    if limit is not None:
        require(is_int(limit), "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32)")
        require(limit > 0, "* GenerateContentRequest.generation_config.max_output_tokens: must be positive")
    stops = config.get("stopSequences") or []
    is_sound = isinstance(stops, list) and all(isinstance(stop, str) and stop for stop in stops)
    require(is_sound, "Invalid value at 'generation_config.stop_sequences'")
    message = f"* GenerateContentRequest.generation_config.stop_sequences: at most {STOPS_MAX} stop sequences"
    require(len(stops) <= STOPS_MAX, message)
    count = config.get("candidateCount", 1)
    require(is_int(count) and 1 <= count <= 8, "candidateCount must be in the range [1, 8]")  # noqa: PLR2004
    require(count == 1, "Multiple candidates is not enabled for this model")
    mime = config.get("responseMimeType", "text/plain")
    require(
        mime in ("text/plain", "application/json", "text/x.enum"),
        "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are `text/plain`, "
        "`application/json`, `application/xml`, `application/yaml` and `text/x.enum`.",
    )
    has_schema = any(config.get(key) is not None for key in ("responseSchema", "responseJsonSchema"))
    message = "Function calling config or response schema needs response mimetype `application/json`"
    require(not has_schema or mime != "text/plain", message)
    if config.get("responseSchema") is not None:
        check_schema(config["responseSchema"], "generation_config.response_schema")


def read_tools(tools: Any) -> list[Body]:  # noqa: ANN401 - any JSON value
    """The function declarations, checked."""
    require(isinstance(tools, list), "Invalid value at 'tools'")
    made: list[Body] = []
    known = frozenset({"functionDeclarations", "googleSearch", "codeExecution", "urlContext", "googleSearchRetrieval"})
    for index, tool in enumerate(tools):
        group = require_known(tool, known, f"tools[{index}]")
        declarations = group.get("functionDeclarations") or []
        require(isinstance(declarations, list), f"Invalid value at 'tools[{index}].function_declarations'")
        for at, given in enumerate(declarations):
            place = f"tools[{index}].function_declarations[{at}]"
            fields = frozenset(
                {
                    "name",
                    "description",
                    "parameters",
                    "parametersJsonSchema",
                    "response",
                    "behavior",
                    "responseJsonSchema",
                }
            )
            declared = require_known(given, fields, place)
            name = declared.get("name")
            is_sound = isinstance(name, str) and TOOL_NAME.fullmatch(name.replace(".", "_").replace(":", "_"))
            require(is_sound, f"* GenerateContentRequest.{place}.name: Invalid function name.")
            if declared.get("parameters") is not None:
                check_schema(declared["parameters"], f"{place}.parameters")
            made.append(declared)
    names = [tool["name"] for tool in made]
    for name in names:
        require(names.count(name) == 1, f"Duplicate function declaration found: {name}")
    return made


def check_turns(contents: list[tuple[str, list[Body]]], *, needs_signatures: bool) -> None:
    """Refuse calls that are not answered by as many responses, and Gemini 3 calls that lost their signature."""
    pending = 0
    for index, (role, parts) in enumerate(contents):
        responses = sum("functionResponse" in part for part in parts)
        if (pending or responses) and responses != pending:
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        pending = sum("functionCall" in part for part in parts) if role == "model" else 0
        if pending and index == 0:
            raise invalid(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
    if not needs_signatures:
        return
    said = [i for i, (role, parts) in enumerate(contents) if role != "model" and any("text" in part for part in parts)]
    for index in range(said[-1] + 1 if said else 0, len(contents)):
        role, parts = contents[index]
        first = next((part for part in parts if "functionCall" in part), None)
        if role == "model" and first is not None and not first.get("thoughtSignature"):
            name = camel_keys(first["functionCall"]).get("name")
            raise invalid(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{name}`, position {index + 1}."
            )
