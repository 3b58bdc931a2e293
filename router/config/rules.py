"""Rules of a policy: names that exist, conditions that can hold, requirements that some model meets."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from router.catalog.cards import LOGPROBS
from router.config.guards import context_bound_of
from router.eligibility import check_requirement
from router.misspelt import meant
from router.policy import Cascade, Condition, Requirement, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.config.schema import CascadeBlock, PolicyFile, RuleBlock, WhenBlock
    from router.config.yaml_places import Path
    from router.policy import PolicyModel

ALWAYS = Condition()


class Noting(Protocol):
    """The file that is being checked, and where findings go."""

    file: PolicyFile
    model_names: list[str]
    tier_names: list[str]
    vendor_names: list[str]

    def add(self, path: Path, message: str) -> None:
        """Note a finding."""
        ...


def rule_of(noting: Noting, index: int, block: RuleBlock) -> Rule:
    """The rule, its names checked."""
    here: Path = ("rules", index)
    require = block.require
    _check_names(noting, (*here, "require", "models"), require.models, noting.model_names, "is no model of this policy")
    _check_names(
        noting, (*here, "require", "vendors"), require.vendors, noting.vendor_names, "has no model in this policy"
    )
    _check_names(
        noting, (*here, "when", "quality_tier"), block.when.quality_tier, noting.tier_names, "is no quality tier"
    )
    low, high = block.when.input_tokens_min, block.when.input_tokens_max
    if low is not None and high is not None and low > high:
        noting.add((*here, "when", "input_tokens_min"), "is above `input_tokens_max`: the rule could never apply")
    if not require.model_fields_set and block.context is None:
        noting.add((*here, "require"), "requires nothing")
    elif require.model_fields_set == {"tier_min"} and require.tier_min == "economy":
        noting.add((*here, "require", "tier_min"), "economy is the lowest tier: the rule narrows nothing")
    elif require.model_fields_set == {"tolerance_max"} and require.tolerance_max == 1:
        noting.add((*here, "require", "tolerance_max"), "1 allows every loss: the rule narrows nothing")
    if any(each.name == block.name for each in noting.file.rules[:index]):
        noting.add((*here, "name"), f"`{block.name}` names two rules")
    return Rule(
        block.name,
        _condition_of(block.when),
        Requirement(
            tier_min=require.tier_min,
            capabilities=frozenset(require.capabilities or ()),
            vendors=frozenset(require.vendors or ()),
            models=frozenset(require.models or ()),
            tolerance_max=require.tolerance_max,
        ),
        context_bound_of(block.context, f"the rule {block.name}"),
    )


def cascade_of(noting: Noting, block: CascadeBlock) -> Cascade:
    """The cascade, its names checked."""
    rates = block.catch_rate or {}
    _check_names(noting, ("cascade", "tiers"), block.tiers, noting.tier_names, "is no quality tier")
    for position, check in enumerate(block.verify):
        if check in block.verify[:position]:
            noting.add(("cascade", "verify", position), f"`{check}` stands twice")
    for name in rates:
        if name not in noting.model_names:
            close = meant(name, noting.model_names)
            noting.add(("cascade", "catch_rate", name), f"`{name}` is no model of this policy{close}")
        elif name == noting.file.routing.premium:
            noting.add(("cascade", "catch_rate", name), "is the premium model: it may serve without any check")
    _check_confidence(noting, block)
    _check_verifier(noting, block)
    return Cascade(
        verify=tuple(block.verify),
        max_attempts=block.max_attempts,
        tiers=frozenset(block.tiers or ()),
        buffers_streams=block.streams == "buffer",
        catch_rate=MappingProxyType(dict(rates)),
        confidence_min=block.confidence_min or 0.0,
        verifier_min=block.verifier_min or 0.0,
    )


def _check_confidence(noting: Noting, block: CascadeBlock) -> None:
    """`logprobs` needs its bound, and models that answer with probabilities; the bound needs `logprobs`."""
    if LOGPROBS not in block.verify:
        if block.confidence_min is not None:
            noting.add(("cascade", "confidence_min"), "is for the check `logprobs`, which `verify` does not have")
        return
    place = ("cascade", "verify", block.verify.index(LOGPROBS))
    if block.confidence_min is None:
        noting.add(place, "`logprobs` needs `cascade.confidence_min`")
    if not any(LOGPROBS in (model.capabilities or ()) for model in noting.file.models.values()):
        noting.add(place, "no model of this policy has `logprobs` among its `capabilities`")


def _check_verifier(noting: Noting, block: CascadeBlock) -> None:
    """`verifier` needs its bound; the bound needs `verifier`."""
    if "verifier" not in block.verify:
        if block.verifier_min is not None:
            noting.add(("cascade", "verifier_min"), "is for the check `verifier`, which `verify` does not have")
    elif block.verifier_min is None:
        noting.add(("cascade", "verify", block.verify.index("verifier")), "`verifier` needs `cascade.verifier_min`")


def _check_names(noting: Noting, path: Path, names: Iterable[str] | None, known: list[str], what: str) -> None:
    for position, name in enumerate(names or ()):
        if name not in known:
            noting.add((*path, position), f"`{name}` {what}{meant(name, known)}")


def _condition_of(when: WhenBlock) -> Condition:
    return Condition(
        team=tuple(when.team or ()),
        project=tuple(when.project or ()),
        key=tuple(when.key or ()),
        quality_tier=tuple(when.quality_tier or ()),
        tags=MappingProxyType({name: tuple(values) for name, values in (when.tags or {}).items()}),
        has_images=when.has_images,
        has_tools=when.has_tools,
        has_response_schema=when.has_response_schema,
        input_tokens_min=when.input_tokens_min,
        input_tokens_max=when.input_tokens_max,
        support_max=when.support_max,
    )


def check_possible(noting: Noting, rules: Sequence[Rule], models: Mapping[str, PolicyModel]) -> None:
    """Find rules that no model satisfies, alone or together with the rules that always apply."""
    always: set[str] = set(models)
    is_possible = True
    for index, rule in enumerate(rules):
        mine = {name for name, model in models.items() if not check_requirement(model, rule.name, rule.require)}
        if not mine:
            noting.add(("rules", index, "require"), "no model of this policy satisfies it")
        elif is_always(rule) and is_possible:
            always &= mine
            if not always:
                is_possible = False
                noting.add(("rules", index, "require"), "no model satisfies it and the rules above that always apply")
    if not is_possible:
        return
    for index, rule in enumerate(rules):
        mine = {name for name, model in models.items() if not check_requirement(model, rule.name, rule.require)}
        if mine and not mine & always and not is_always(rule):
            noting.add(("rules", index, "require"), "no model satisfies it and the rules that always apply")


def is_always(rule: Rule) -> bool:
    """Whether the rule has no condition."""
    when = rule.when
    return not when.tags and Condition(tags=when.tags) == when
