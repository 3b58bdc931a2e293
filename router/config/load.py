"""YAML text to a ``Policy``: every mistake of a file is found at once and named by ``file:line: path: message``."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from router.catalog import ModelCard, PriceSchedule, contract_schedule
from router.config.hosts import wire_of
from router.config.schema import LATER_FIELDS, PolicyFile
from router.config.yaml_places import Finding, Places
from router.errors import ConfigError
from router.policy import MODEL_TIERS, Condition, Limits, Policy, PolicyModel, Requirement, Rule, Upstream

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from router.catalog import Catalog
    from router.config.schema import ModelBlock, PriceBlock, RuleBlock

POLICY_BYTES_MAX = 4_000_000
EXACT_PATTERNS = {
    "string_pattern_mismatch": "has characters that are not allowed here",
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "string_type": "must be text; put it in quotes",
    "list_type": "must be a list",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
    "date_type": "must be a day such as 2026-11-01, without quotes",
}


def load_policy(path: Path, catalog: Catalog, today: date) -> Policy:
    """Read a policy file. Raises ConfigError with every finding in ``data["findings"]``."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_policy(raw, str(path), catalog, today)


def parse_policy(raw: bytes, name: str, catalog: Catalog, today: date) -> Policy:
    """The policy of a file's bytes; ``name`` is what messages call it. Raises ConfigError with every finding."""
    if len(raw) > POLICY_BYTES_MAX:
        raise ConfigError(f"{name}:1: a policy of {len(raw)} bytes; at most {POLICY_BYTES_MAX}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: not UTF-8 text") from error
    places = Places(text, name)
    _require(places.findings)
    if not isinstance(places.value, dict):
        raise ConfigError(f"{name}:1: a policy is a block of keys (version, name, models, routing)")
    later = _later_findings(places)
    try:
        file = PolicyFile.model_validate(places.value)
    except ValidationError as error:
        found = later + [_finding_of(places, dict(each)) for each in error.errors()]
        _require(_without_doubles(found))
        raise AssertionError("unreachable: a validation error has findings") from error
    _require(later)
    resolving = _Resolving(file, places, catalog, today)
    policy = resolving.policy(hashlib.sha256(raw + catalog.revision.encode()).hexdigest())
    _require(resolving.findings)
    assert policy is not None
    return policy


def _require(findings: list[Finding]) -> None:
    if findings:
        ordered = sorted(findings)
        raise ConfigError(
            "\n".join(str(each) for each in ordered),
            data={"findings": [{**asdict(each), "text": str(each)} for each in ordered]},
        )


def _without_doubles(findings: list[Finding]) -> list[Finding]:
    """One finding a path: a field of later work is also an unknown key."""
    kept: dict[tuple[int, str], Finding] = {}
    for each in findings:
        kept.setdefault((each.line, each.path), each)
    return list(kept.values())


def _later_findings(places: Places) -> list[Finding]:
    assert isinstance(places.value, dict)
    found: list[Finding] = []
    for dotted in sorted(LATER_FIELDS):
        parts = tuple(dotted.split("."))
        value: object = places.value
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found.append(places.find(parts, "not available in this version: remove it, nothing would act on it"))
    return found


def _finding_of(places: Places, error: dict[str, object]) -> Finding:
    location = error["loc"]
    assert isinstance(location, tuple)
    path = tuple(part for part in location if part != "[key]")
    kind = str(error["type"])
    message = EXACT_PATTERNS.get(kind, str(error["msg"]).replace("Input should be", "must be"))
    if kind == "extra_forbidden":
        message += _meant(str(path[-1]), _siblings_of(path))
    return places.find(path, message)


def _siblings_of(path: tuple[str | int, ...]) -> list[str]:
    """The keys that a block at this path may have, by walking the schema."""
    schema = PolicyFile.model_json_schema()
    definitions = schema.get("$defs", {})
    node: dict[str, object] = schema
    for part in path[:-1]:
        properties = node.get("properties")
        inner = properties.get(part) if isinstance(properties, dict) else None
        if inner is None:
            patterns = node.get("patternProperties")
            by_name = next(iter(patterns.values())) if isinstance(patterns, dict) else node.get("additionalProperties")
            inner = node.get("items") if isinstance(part, int) else by_name
        options = inner.get("anyOf", [inner]) if isinstance(inner, dict) else []
        node = next((option for option in options if isinstance(option, dict) and option.get("type") != "null"), {})
        reference = node.get("$ref")
        if isinstance(reference, str):
            node = definitions.get(reference.rsplit("/", 1)[-1], {})
    properties = node.get("properties")
    return list(properties) if isinstance(properties, dict) else []


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


class _Resolving:
    """The file against the catalogue and against itself."""

    def __init__(self, file: PolicyFile, places: Places, catalog: Catalog, today: date) -> None:
        self.file, self.places, self.catalog, self.today = file, places, catalog, today
        self.findings: list[Finding] = []
        self.warnings: list[str] = []

    def add(self, path: tuple[str | int, ...], message: str) -> None:
        self.findings.append(self.places.find(path, message))

    def policy(self, revision: str) -> Policy | None:
        file, routing = self.file, self.file.routing
        models = {name: self._model(name, block) for name, block in file.models.items()}
        known = list(file.models)
        if routing.premium not in file.models:
            self.add(("routing", "premium"), f"`{routing.premium}` is no model{_meant(routing.premium, known)}")
        if routing.default_tier not in routing.quality_tiers:
            close = _meant(routing.default_tier, list(routing.quality_tiers))
            self.add(("routing", "default_tier"), f"`{routing.default_tier}` is no quality tier{close}")
        rules = tuple(self._rule(index, block) for index, block in enumerate(file.rules))
        self._check_rule_names()
        resolved = {name: model for name, model in models.items() if model is not None}
        if self.findings:
            return None
        for index, rule in enumerate(rules):
            self._check_possible(index, rule, resolved)
        return Policy(
            revision=revision,
            name=file.name,
            price_revision=self.catalog.revision,
            models=MappingProxyType(resolved),
            premium=routing.premium,
            quality_tiers=MappingProxyType(dict(routing.quality_tiers)),
            default_tier=routing.default_tier,
            rules=rules,
            droppable=frozenset(routing.drop),
            upstream=Upstream(**file.upstream.model_dump()),
            limits=Limits(**file.limits.model_dump()),
            keys_file=file.keys.file if file.keys is not None else None,
            warnings=tuple(self.warnings),
        )

    def _model(self, name: str, block: ModelBlock) -> PolicyModel | None:
        here = ("models", name)
        card = self.catalog.card(block.provider_model)
        has_own_price = block.price_usd_per_mtok is not None
        if card is None and not has_own_price:
            close = self.catalog.close_names(block.provider_model)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            self.add(
                (*here, "provider_model"),
                f"`{block.provider_model}` is not in the catalogue: give it a `price_usd_per_mtok`{hint}",
            )
            return None
        prices = self._prices(here, block, card)
        if prices is None:
            return None
        if card is not None and card.mode not in ("chat", "responses", ""):
            self.add((*here, "provider_model"), f"`{block.provider_model}` is a model for {card.mode}, not for chat")
        retired = card.deprecation_date if card is not None else None
        if retired is not None and retired <= self.today and not has_own_price and block.api_base is None:
            line = self.places.find((*here, "provider_model"), f"was retired by its host on {retired}")
            self.warnings.append(str(line))
        return PolicyModel(
            id=name,
            provider_model=block.provider_model,
            vendor=block.vendor,
            tier=block.tier,
            wire=wire_of(block.provider_model),
            card=_card_with(card, block, prices),
            prices=prices,
            api_base=block.api_base,
            api_key_env=block.api_key_env,
            has_contract_price=has_own_price,
        )

    def _prices(self, here: tuple[str, str], block: ModelBlock, card: ModelCard | None) -> PriceSchedule | None:
        if block.price_usd_per_mtok is not None:
            return _contract_of(block.price_usd_per_mtok)
        prices = card.prices if card is not None else None
        if prices is None or prices.base.input <= 0 or prices.base.output_text <= 0:
            self.add(
                (*here, "provider_model"),
                "its price is unknown or zero in the catalogue: say `price_usd_per_mtok` (0 is allowed when said)",
            )
            return None
        return prices

    def _rule(self, index: int, block: RuleBlock) -> Rule:
        here = ("rules", index)
        known = list(self.file.models)
        for position, model in enumerate(block.require.models):
            if model not in known:
                self.add((*here, "require", "models", position), f"`{model}` is no model{_meant(model, known)}")
        vendors = sorted({each.vendor for each in self.file.models.values()})
        for position, vendor in enumerate(block.require.vendors):
            if vendor not in vendors:
                self.add((*here, "require", "vendors", position), f"`{vendor}` has no model{_meant(vendor, vendors)}")
        tiers = list(self.file.routing.quality_tiers)
        for position, tier in enumerate(block.when.quality_tier):
            if tier not in tiers:
                self.add((*here, "when", "quality_tier", position), f"`{tier}` is no quality tier{_meant(tier, tiers)}")
        low, high = block.when.input_tokens_min, block.when.input_tokens_max
        if low is not None and high is not None and low > high:
            self.add((*here, "when", "input_tokens_min"), "is above `input_tokens_max`: the rule could never apply")
        if not block.require.model_fields_set:
            self.add((*here, "require"), "requires nothing")
        when = block.when.model_dump()
        for name in ("team", "project", "key", "quality_tier"):
            when[name] = tuple(when[name])
        when["tags"] = MappingProxyType({name: tuple(values) for name, values in when["tags"].items()})
        require = block.require
        return Rule(
            block.name,
            Condition(**when),
            Requirement(
                tier_min=require.tier_min,
                capabilities=frozenset(require.capabilities),
                vendors=frozenset(require.vendors),
                models=frozenset(require.models),
                tolerance_max=require.tolerance_max,
            ),
        )

    def _check_rule_names(self) -> None:
        seen: set[str] = set()
        for index, block in enumerate(self.file.rules):
            if block.name in seen:
                self.add(("rules", index, "name"), f"`{block.name}` names two rules")
            seen.add(block.name)

    def _check_possible(self, index: int, rule: Rule, models: dict[str, PolicyModel]) -> None:
        require = rule.require
        for model in models.values():
            is_high = require.tier_min is None or MODEL_TIERS.index(model.tier) >= MODEL_TIERS.index(require.tier_min)
            is_vendor = not require.vendors or model.vendor in require.vendors
            is_named = not require.models or model.id in require.models
            if is_high and is_vendor and is_named and require.capabilities <= model.card.capabilities:
                return
        self.add(("rules", index, "require"), "no model of this policy satisfies it")


def _contract_of(block: PriceBlock) -> PriceSchedule:
    return contract_schedule(
        block.input,
        block.output,
        cache_read=block.cache_read,
        cache_write_5m=block.cache_write_5m,
        cache_write_1h=block.cache_write_1h,
        reasoning=block.reasoning,
    )


def _card_with(card: ModelCard | None, block: ModelBlock, prices: PriceSchedule) -> ModelCard:
    """The catalogue's card with the policy's overrides; a bare one for a model that it does not know."""
    if card is None:
        card = ModelCard(
            name=block.provider_model,
            provider=block.provider_model.split("/", 1)[0],
            mode="chat",
            prices=prices,
            context_window=None,
            max_output_tokens=None,
            capabilities=frozenset({"system"}),
            refuses=frozenset(),
            thinking_always_on=False,
            prompt_cache_min_tokens=None,
            deprecation_date=None,
        )
    capabilities = card.capabilities if block.capabilities is None else frozenset(block.capabilities)
    return replace(
        card,
        prices=prices,
        context_window=block.context_window or card.context_window,
        max_output_tokens=block.output_tokens_max or card.max_output_tokens,
        capabilities=capabilities,
    )
