"""What Anthropic's Messages API refuses about a request's shape, in its own words (late 2026)."""

from __future__ import annotations

from typing import Any

from router.simulator.refusals import TOOL_NAME, Body, invalid, is_int, is_number, require

TOP_LEVEL = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "stream", "temperature", "top_k"),
        *("top_p", "tools", "tool_choice", "thinking", "service_tier", "output_config", "cache_control"),
        *("inference_geo", "container", "context_management"),
    }
)
MESSAGE_FIELDS = frozenset({"role", "content"})
BLOCK_FIELDS: dict[str, frozenset[str]] = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "cache_control", "title", "context", "citations"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control", "caller"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}
TOOL_FIELDS = frozenset(
    {
        *("type", "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming"),
        *("input_examples", "defer_loading", "allowed_callers"),
    }
)
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
IMAGE_BYTES_MAX = 5 * 1024 * 1024
BREAKPOINTS_MAX = 4
_UNSUPPORTED = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}


def require_known(body: Body, known: frozenset[str], place: str = "") -> None:
    """Refuse a field that the API does not have."""
    if not body.keys() <= known:
        extra = min(body.keys() - known)
        raise invalid(f"{place}{extra}: Extra inputs are not permitted")


def check_settings(body: Body, *, needs_max_tokens: bool) -> None:
    """Refuse unknown fields and wrong types of everything outside messages and tools."""
    require_known(body, TOP_LEVEL)
    model = body.get("model")
    require(isinstance(model, str) and model, "model: Field required")
    if needs_max_tokens:
        require("max_tokens" in body, "max_tokens: Field required")
        limit = body["max_tokens"]
        require(is_int(limit), "max_tokens: Input should be a valid integer")
        require(limit >= 1, "max_tokens: Input should be greater than or equal to 1")
    for name, high in (("temperature", 1), ("top_p", 1)):
        value = body.get(name)
        if value is not None:
            require(is_number(value), f"{name}: Input should be a valid number")
            require(0 <= value <= high, f"{name}: range: 0..{high}")
    top_k = body.get("top_k")
    require(top_k is None or (is_int(top_k) and top_k >= 0), "top_k: Input should be a valid integer")
    require(isinstance(body.get("stream", False), bool), "stream: Input should be a valid boolean")
    stops = body.get("stop_sequences") or []
    require(isinstance(stops, list), "stop_sequences: Input should be a valid list")
    for index, stop in enumerate(stops):
        require(isinstance(stop, str), f"stop_sequences.{index}: Input should be a valid string")
        require(stop.strip(), "stop_sequences: each stop sequence must contain non-whitespace")
    metadata = body.get("metadata")
    if metadata is not None:
        require(isinstance(metadata, dict), "metadata: Input should be a valid dictionary")
        require_known(metadata, frozenset({"user_id"}), "metadata.")
    tier = body.get("service_tier", "auto")
    require(tier in ("auto", "standard_only"), "service_tier: Input should be 'auto' or 'standard_only'")


def check_tools(body: Body) -> None:
    """Refuse tools and tool choices that do not hold together."""
    tools = body.get("tools") or []
    require(isinstance(tools, list), "tools: Input should be a valid list")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        place = f"tools.{index}"
        require(isinstance(tool, dict), f"{place}: Input should be a valid dictionary")
        require(tool.get("type", "custom") == "custom", f"{place}.type: server tools are not simulated")
        require_known(tool, TOOL_FIELDS, f"{place}.custom.")
        name, schema = tool.get("name"), tool.get("input_schema")
        require(isinstance(name, str), f"{place}.custom.name: Field required")
        matches = TOOL_NAME.fullmatch(str(name))
        require(matches, f"{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        require(name not in names, "tools: Tool names must be unique.")
        names.add(str(name))
        require(isinstance(schema, dict), f"{place}.custom.input_schema: Field required")
        kind = schema.get("type") if isinstance(schema, dict) else None
        require(kind == "object", f"{place}.custom.input_schema.type: Input should be 'object'")
    choice = body.get("tool_choice")
    if choice is None:
        return
    require(isinstance(choice, dict), "tool_choice: Input should be a valid dictionary")
    kind = choice.get("type")
    require(kind in ("auto", "any", "tool", "none"), "tool_choice.type: Input should be 'auto', 'any', 'tool', 'none'")
    require_known(choice, frozenset({"type", "name", "disable_parallel_tool_use"}), f"tool_choice.{kind}.")
    require(tools or kind == "none", "tool_choice: may only be specified while providing tools")
    if kind == "tool":
        require(str(choice.get("name")) in names, f"Tool '{choice.get('name')}' not found in provided tools")


def check_output_schema(schema: object) -> None:
    """Refuse what structured output does not support: open objects, bounds on numbers, strings and arrays."""
    require(isinstance(schema, dict), "output_config.format.schema: Input should be a valid dictionary")
    _check_schema(schema, 0)


def _check_schema(schema: Any, depth: int) -> None:  # noqa: ANN401 - any JSON value
    require(depth < 40, "output_config.format.schema: Schema is too deep")  # noqa: PLR2004
    if isinstance(schema, list):
        for item in schema:
            _check_schema(item, depth + 1)
        return
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "object":
            require(
                schema.get("additionalProperties") is False,
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to "
                "false",
            )
        for key in _UNSUPPORTED.get(str(kind), ()):
            message = f"output_config.format.schema: For '{kind}' type, property '{key}' is not supported"
            require(key not in schema, message)
    for key in ("items", "anyOf", "allOf"):
        _check_schema(schema.get(key), depth + 1)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(key), dict):
            _check_schema(list(schema[key].values()), depth + 1)


def check_turns(turns: list[tuple[str, list[Body]]]) -> None:
    """Refuse tool results without their call in the turn before, and calls without results in the turn after."""
    require(turns[0][0] == "user", 'messages: first message must use the "user" role')
    before: list[str] = []
    for index, (role, blocks) in enumerate(turns):
        results = [str(b["tool_use_id"]) for b in blocks if b["type"] == "tool_result"]
        for tool_id in results:
            if role != "user" or tool_id not in before:
                raise invalid(
                    f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {tool_id}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        missing = [tool_id for tool_id in before if tool_id not in results]
        if missing:
            raise invalid(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        before = [str(b["id"]) for b in blocks if b["type"] == "tool_use"]
    require(not before, "messages: `tool_use` ids were found without `tool_result` blocks immediately after")


def check_breakpoint(control: object, place: str) -> str:
    """The lifetime that a cache breakpoint asks for, `5m` or `1h`."""
    require(isinstance(control, dict), f"{place}.cache_control: Input should be a valid dictionary")
    marked: Body = control if isinstance(control, dict) else {}
    require_known(marked, frozenset({"type", "ttl"}), f"{place}.cache_control.")
    require(marked.get("type") == "ephemeral", f"{place}.cache_control.type: Input should be 'ephemeral'")
    ttl = marked.get("ttl", "5m")
    require(ttl in ("5m", "1h"), f"{place}.cache_control.ttl: Input should be '5m' or '1h'")
    return str(ttl)
