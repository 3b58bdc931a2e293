"""A file whose shape is sound, against the catalogue and against itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from router.catalog import ModelCard, PriceSchedule, contract_schedule, lint_catalog
from router.catalog.cards import HOSTED_AS
from router.config.budgets import allowance_of, budgets_of
from router.config.guards import context_bound_of, guards_of
from router.config.hosts import HOSTS, LONG_TAIL, host_of, wire_of
from router.config.rules import cascade_of, check_possible, rule_of
from router.misspelt import meant
from router.policy import Limits, Policy, PolicyModel, Upstream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from router.catalog import Catalog
    from router.config.schema import ModelBlock, PolicyFile, PriceBlock
    from router.config.yaml_places import Finding, Path, Places

# These sell their own models only: with another vendor, a rule that allows or forbids by vendor would mean nothing.
VENDOR_OF_PROVIDER: Mapping[str, str] = {"anthropic": "anthropic", "gemini": "google"}
# What litellm reaches without the price map naming it.
UNPRICED_PROVIDERS = frozenset(
    {"custom_openai", "huggingface", "litellm_proxy", "llamafile", "lm_studio", "openai_like", "vllm", "xinference"}
)
# A model with a price of its own is not judged by the catalogue's prices.
PRICE_CODES = frozenset(
    {
        "price_unknown",
        "price_zero",
        "tier_below_base",
        "cache_read_above_input",
        "batch_above_input",
        "flex_above_input",
    }
)
CHAT_MODES = ("chat", "responses", "")


class Resolving:
    """Turns a ``PolicyFile`` into a ``Policy``; ``findings`` forbid it, ``warnings`` do not."""

    def __init__(self, file: PolicyFile, places: Places, catalog: Catalog, today: date) -> None:
        self.file, self.places, self.catalog, self.today = file, places, catalog, today
        self.findings: list[Finding] = []
        self.warnings: list[Finding] = []
        in_catalog = {str(entry.get("litellm_provider", "")) for entry in catalog.entries.values()}
        self.providers = {*HOSTS, *HOSTED_AS, *in_catalog, *UNPRICED_PROVIDERS} - {""}
        # Names as the file has them: a model that is left out for another mistake is not unknown besides.
        self.model_names = self._raw_names("models", list(file.models))
        self.tier_names = self._raw_names("routing", list(file.routing.quality_tiers), "quality_tiers")
        self.vendor_names = sorted({*self._raw_vendors(), *(each.vendor for each in file.models.values())})

    def _raw_vendors(self) -> list[str]:
        value = self.places.value
        blocks = value.get("models") if isinstance(value, dict) else None
        found = (
            [each.get("vendor") for each in blocks.values() if isinstance(each, dict)]
            if isinstance(blocks, dict)
            else []
        )
        return [each for each in found if isinstance(each, str)]

    def _raw_names(self, top: str, otherwise: list[str], inner: str | None = None) -> list[str]:
        value = self.places.value
        block = value.get(top) if isinstance(value, dict) else None
        if inner is not None:
            block = block.get(inner) if isinstance(block, dict) else None
        return list(block) if isinstance(block, dict) else otherwise

    def add(self, path: Path, message: str) -> None:
        """Note what forbids the policy."""
        self.findings.append(self.places.find(path, message))

    def warn(self, path: Path, message: str) -> None:
        """Note what a person should look at."""
        self.warnings.append(self.places.find(path, message))

    def policy(self, revision: str) -> Policy | None:
        """The policy; None where a finding forbids it."""
        file, routing = self.file, self.file.routing
        models = {name: self._model(name, block) for name, block in file.models.items()}
        self._check_routing()
        rules = tuple(rule_of(self, index, block) for index, block in enumerate(file.rules))
        cascade = cascade_of(self, file.cascade) if file.cascade is not None else None
        budgets, allowance = budgets_of(self, file.budgets), allowance_of(self, file.budget_store)
        resolved = {name: model for name, model in models.items() if model is not None}
        if len(resolved) == len(self.model_names):
            check_possible(self, rules, resolved)
        if self.findings:
            return None
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
            promise_min=routing.promise_min,
            upstream=Upstream(**file.upstream.model_dump()),
            limits=Limits(**file.limits.model_dump()),
            cascade=cascade,
            budgets=budgets,
            budget_allowance_nanousd=allowance,
            budget_lease_share=file.budget_store.lease_share,
            guards=guards_of(file.guards),
            context=context_bound_of(file.guards.context),
            keys_file=file.keys.file if file.keys is not None else None,
            warnings=tuple(str(each) for each in self.warnings),
        )

    def _check_routing(self) -> None:
        routing = self.file.routing
        if routing.premium not in self.model_names:
            close = meant(routing.premium, self.model_names)
            self.add(("routing", "premium"), f"`{routing.premium}` is no model of this policy{close}")
        if routing.default_tier not in self.tier_names:
            close = meant(routing.default_tier, self.tier_names)
            self.add(("routing", "default_tier"), f"`{routing.default_tier}` is no quality tier{close}")
        if routing.quality_tiers.get("premium", 0.0) > 0:
            self.add(("routing", "quality_tiers", "premium"), "must be 0: premium promises no loss")
        tiers = list(routing.quality_tiers.items())
        is_rising = len(tiers) < 2 or tiers[0][1] <= tiers[-1][1]  # noqa: PLR2004  # one tier has no order
        for (before, smaller), (name, larger) in pairwise(tiers):
            if smaller != larger and (smaller < larger) is not is_rising:
                order = "rise" if is_rising else "fall"
                message = f"the tolerances {order}, but {larger:g} after `{before}: {smaller:g}` does not"
                self.add(("routing", "quality_tiers", name), f"{message}: a slip of the point?")

    def _model(self, name: str, block: ModelBlock) -> PolicyModel | None:
        here = ("models", name)
        before = len(self.findings)
        self._check_provider(here, block)
        card = self.catalog.card(block.provider_model)
        if card is None and block.price_usd_per_mtok is None and len(self.findings) == before:
            close = self.catalog.close_names(block.provider_model, 1)
            hint = f"did you mean `{close[0]}`? Otherwise say" if close else "say"
            self.add(
                (*here, "provider_model"),
                f"`{block.provider_model}` is not in the catalogue; {hint} its `price_usd_per_mtok`",
            )
        if card is not None and card.mode not in CHAT_MODES:
            self.add((*here, "provider_model"), f"`{block.provider_model}` is a model for {card.mode}, not for chat")
            return None
        if card is not None and card.mode == "responses" and wire_of(block.provider_model) == "openai":
            message = f"`{block.provider_model}` answers on the Responses API alone, which is not spoken here"
            self.add((*here, "provider_model"), message)
            return None
        prices = self._prices(here, block, card)
        if prices is None or len(self.findings) > before:
            return None
        merged = _card_with(card, block, prices)
        self._check_limits(here, block, merged)
        self._warn_of(here, block, merged, is_known=card is not None)
        return PolicyModel(
            id=name,
            provider_model=block.provider_model,
            vendor=block.vendor,
            tier=block.tier,
            wire=wire_of(block.provider_model),
            card=merged,
            prices=prices,
            api_base=block.api_base,
            api_key_env=block.api_key_env,
            has_contract_price=block.price_usd_per_mtok is not None,
            bills_after_disconnect=block.bills_after_disconnect,
        )

    def _check_provider(self, here: Path, block: ModelBlock) -> None:
        provider = block.provider_model.split("/", 1)[0]
        if self.catalog.card(block.provider_model) is None and provider not in self.providers:
            close = meant(provider, sorted(self.providers))
            self.add((*here, "provider_model"), f"`{provider}` is no provider{close}")
            return
        if block.api_base is not None:
            return
        vendor = VENDOR_OF_PROVIDER.get(provider, block.vendor)
        if vendor != block.vendor:
            self.add((*here, "vendor"), f"`{provider}` sells models of `{vendor}` only, not of `{block.vendor}`")
        host = host_of(block.provider_model)
        if host is not LONG_TAIL and host.api_base is None:
            self.add((*here, "api_base"), f"is missing: `{provider}` has no address of its own")

    def _prices(self, here: Path, block: ModelBlock, card: ModelCard | None) -> PriceSchedule | None:
        if block.price_usd_per_mtok is not None:
            self._check_price_tiers(here, block.price_usd_per_mtok)
            return contract_of(block.price_usd_per_mtok)
        if card is None:
            return None
        prices = card.prices
        if prices is None or prices.base.input <= 0 or prices.base.output_text <= 0:
            self.add(
                (*here, "provider_model"),
                "its price is unknown or zero in the catalogue: say `price_usd_per_mtok` (0 is allowed when said)",
            )
            return None
        return prices

    def _check_price_tiers(self, here: Path, block: PriceBlock) -> None:
        below = 0
        for index, tier in enumerate(block.above or ()):
            at = (*here, "price_usd_per_mtok", "above", index)
            if tier.input_tokens <= below:
                self.add((*at, "input_tokens"), f"must be above the {below} of the tier before it")
            below = max(below, tier.input_tokens)
            if len(tier.model_fields_set) == 1:
                self.add(at, "prices nothing: give `input`, `output` or another price")

    def _check_limits(self, here: Path, block: ModelBlock, card: ModelCard) -> None:
        window, limit = card.context_window, card.max_output_tokens
        if window is not None and limit is not None and limit > window:
            stated = block.output_tokens_max is not None
            message = f"{limit} output tokens do not fit the context window of {window}"
            self.add((*here, "output_tokens_max" if stated else "context_window"), message)

    def _warn_of(self, here: Path, block: ModelBlock, card: ModelCard, *, is_known: bool) -> None:
        has_own_price = block.price_usd_per_mtok is not None
        for finding in lint_catalog([card], self.today):
            if finding.code in PRICE_CODES and has_own_price:
                continue
            if finding.code == "deprecated" and (has_own_price or block.api_base is not None):
                continue
            if finding.code == "output_limit_missing":
                self.warn((*here, "provider_model"), "no output limit is known: say `output_tokens_max`")
                continue
            self.warn((*here, "provider_model"), finding.message)
        if card.context_window is None:
            self.warn((*here, "provider_model"), "no context window is known: say `context_window`")
        provider = block.provider_model.split("/", 1)[0]
        if not is_known and provider in VENDOR_OF_PROVIDER and block.api_base is None:
            close = self.catalog.close_names(block.provider_model, 1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            self.warn((*here, "provider_model"), f"is not in the catalogue{hint}")


def contract_of(block: PriceBlock) -> PriceSchedule:
    """The schedule of a contract; a context tier keeps what the tier below says and it does not."""
    stated = block.model_dump(exclude={"above"}, exclude_none=True)
    tiers = [contract_schedule(**stated).base]
    for each in block.above or ():
        here = each.model_dump(exclude={"input_tokens"}, exclude_none=True)
        if "output" in here and "reasoning" not in here:  # the reasoning price of the tier below would be half a price
            stated.pop("reasoning", None)
        stated |= here
        tiers.append(replace(contract_schedule(**stated).base, above_input_tokens=each.input_tokens))
    rising = [tiers[0], *(tier for before, tier in pairwise(tiers) if _rises(before, tier))]
    return PriceSchedule(tuple(rising))


def _rises(before: object, tier: object) -> bool:
    return getattr(tier, "above_input_tokens", 0) > getattr(before, "above_input_tokens", 0)


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
