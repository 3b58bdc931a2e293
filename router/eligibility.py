"""Which models may serve a request at all: capabilities, windows, limits, rules and keys. Codes here are API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.catalog.cards import SAMPLING_BESIDE_EFFORT, SAMPLING_UNLESS_NONE
from router.policy import MODEL_TIERS, Requirement
from router.wires import refused_gaps, wire_gaps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.chat import Request
    from router.policy import Caller, Condition, Policy, PolicyModel, Rule


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What rules can ask about, beside the caller."""

    quality_tier: str | None
    tags: dict[str, str]
    input_tokens: int
    has_images: bool
    has_tools: bool
    has_response_schema: bool
    support: float


def does_match(when: Condition, caller: Caller, seen: Circumstances) -> bool:
    """Whether every part of the condition that is given holds."""
    named = (
        (when.team, caller.team),
        (when.project, caller.project),
        (when.key, caller.key_id),
        (when.quality_tier, seen.quality_tier),
    )
    if any(wanted and actual not in wanted for wanted, actual in named):
        return False
    if any(seen.tags.get(name) not in values for name, values in when.tags.items()):
        return False
    flags = (
        (when.has_images, seen.has_images),
        (when.has_tools, seen.has_tools),
        (when.has_response_schema, seen.has_response_schema),
    )
    if any(wanted is not None and wanted is not actual for wanted, actual in flags):
        return False
    if when.input_tokens_min is not None and seen.input_tokens < when.input_tokens_min:
        return False
    if when.input_tokens_max is not None and seen.input_tokens > when.input_tokens_max:
        return False
    return when.support_max is None or seen.support <= when.support_max


def matching_rules(policy: Policy, caller: Caller, seen: Circumstances) -> tuple[Rule, ...]:
    """The rules that apply, in the policy's order (which means nothing, since each can only narrow)."""
    return tuple(rule for rule in policy.rules if does_match(rule.when, caller, seen))


def check_requirement(model: PolicyModel, name: str, require: Requirement) -> tuple[str, ...]:
    """Why the rule ``name`` keeps the model out; empty when it does not."""
    is_out = (
        (require.tier_min is not None and MODEL_TIERS.index(model.tier) < MODEL_TIERS.index(require.tier_min))
        or (require.vendors and model.vendor not in require.vendors)
        or (require.models and model.id not in require.models)
        or not require.capabilities <= model.card.capabilities
    )
    return (f"rule:{name}",) if is_out else ()


def check_capabilities(request: Request, model: PolicyModel) -> tuple[str, ...]:
    """What the request needs and the model or its wire cannot do."""
    needed: list[str] = []
    if request.images:
        needed.append("vision")
    if request.tools:
        needed.append("tools")
    if request.response_format is not None and request.response_format.kind == "json_schema":
        needed.append("response_schema")
    lacking = tuple(f"lacks:{name}" for name in needed if name not in model.card.capabilities)
    gaps = wire_gaps(request, model.wire)
    if model.wire in ("openai", "litellm"):
        gaps += refused_gaps(request, model.provider_model.partition("/")[0], model.card.refuses)
    return lacking + tuple(f"wire:{gap}" for gap in gaps)


def refused_settings(request: Request, model: PolicyModel) -> tuple[str, ...]:
    """The settings of the request that the model answers with a 400, by the catalogue's flags."""
    refuses = model.card.refuses
    found: list[str] = []
    if request.sampling.names() and _refuses_sampling(refuses, request.reasoning_effort):
        found.append("sampling_params")
    last = request.messages[-1] if request.messages else None
    if "assistant_prefill" in refuses and last is not None and last.role == "assistant":
        found.append("assistant_prefill")
    choice = request.tool_choice
    if "forced_tool_use" in refuses and choice is not None and choice.mode in ("required", "named"):
        found.append("forced_tool_use")
    limit = model.card.max_output_tokens
    if limit is not None and request.output_tokens_max is not None and request.output_tokens_max > limit:
        found.append("output_limit")
    if request.reasoning_effort is not None and "reasoning" not in model.card.capabilities:
        found.append("reasoning_effort")
    return tuple(found)


def _refuses_sampling(refuses: frozenset[str], reasoning_effort: str | None) -> bool:
    """Whether the model takes no sampling settings at this effort."""
    return (
        "sampling_params" in refuses
        or (SAMPLING_BESIDE_EFFORT in refuses and reasoning_effort not in (None, "none"))
        or (SAMPLING_UNLESS_NONE in refuses and reasoning_effort != "none")
    )


def check_window(model: PolicyModel, input_tokens: int, output_tokens: int) -> tuple[str, ...]:
    """Whether the prompt and the output asked for fit the context window; an unknown window fits nothing to check."""
    window = model.card.context_window
    return ("context_window",) if window is not None and input_tokens + output_tokens > window else ()


def check_model(
    request: Request,
    model: PolicyModel,
    *,
    caller: Caller,
    rules: Iterable[Rule],
    droppable: frozenset[str],
    input_tokens: int,
    output_tokens: int,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why the model may not serve the request, and which settings would be dropped for it.

    Returns ``(why_not, dropped)``; the model is eligible when ``why_not`` is empty.
    """
    why: list[str] = [] if model.is_reachable else ["no_api_key"]
    why += check_capabilities(request, model)
    refused = refused_settings(request, model)
    why += [f"refuses:{name}" for name in refused if name not in droppable]
    why += check_window(model, input_tokens, output_tokens)
    if caller.allowed_models and model.id not in caller.allowed_models:
        why.append("key")
    for rule in rules:
        why += check_requirement(model, rule.name, rule.require)
    return tuple(why), tuple(name for name in refused if name in droppable)
