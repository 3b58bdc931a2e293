"""The policy's budgets: how they are written, and what makes one impossible."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from router.budgets import Budget
from router.budgets.windows import zone_of
from router.config.fields import PRICE_DECIMALS, Name, Strict, Text, exact
from router.misspelt import meant
from router.money import parse_usd, usd_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.budgets import BudgetScope, BudgetWindow
    from router.config.yaml_places import Path, Places

# More than any company spends; an amount above it is a slip of the keyboard, and int64 has room for nine times it.
LIMIT_USD_MAX = 1_000_000_000
HELD_QUEUE_S = 10.0
SCOPES: tuple[BudgetScope, ...] = ("all", "team", "project", "key", "session", "lineage", "request")
TAG_PREFIX = "tag:"
TAG_NAME_MAX = 64
# From the widest: a budget lies within those of a scope before its own.
WIDTH: Mapping[str, int] = MappingProxyType({"all": 0, "team": 1, "project": 2, "key": 3})
# The windows that hold a whole one of these; a week may lie in two months.
LONGER: Mapping[BudgetWindow, tuple[BudgetWindow, ...]] = MappingProxyType(
    {
        "hour": ("day", "week", "month", "total"),
        "day": ("week", "month", "total"),
        "week": ("total",),
        "month": ("total",),
        "total": (),
    }
)
COMMON_ZONES = ("UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Kolkata")


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise PydanticCustomError("limit", "must be above 0: to forbid a model or a tier, use `rules` or the key")
    return value


def _scope(value: str) -> str:
    name = value.removeprefix(TAG_PREFIX)
    is_tag = value.startswith(TAG_PREFIX) and 0 < len(name) <= TAG_NAME_MAX and name.isprintable()
    if value not in SCOPES and not (is_tag and name == name.strip()):
        hint = meant(value, SCOPES)
        raise PydanticCustomError(
            "scope", "must be {known} or tag:NAME{hint}", {"known": ", ".join(SCOPES), "hint": hint}
        )
    return value


def _zone(value: str) -> str:
    try:
        zone_of(value)
    except ValueError:
        hint = meant(value, COMMON_ZONES) or ": use an IANA name such as Europe/Berlin"
        raise PydanticCustomError("zone", "`{zone}` is no time zone{hint}", {"zone": value, "hint": hint}) from None
    return value


LimitUsd = Annotated[
    Decimal,
    BeforeValidator(exact),
    Field(le=LIMIT_USD_MAX, decimal_places=PRICE_DECIMALS, allow_inf_nan=False),
    AfterValidator(_positive),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": LIMIT_USD_MAX}),
]
Scope = Annotated[
    str,
    AfterValidator(_scope),
    WithJsonSchema({"type": "string", "pattern": rf"^({'|'.join(SCOPES)}|{TAG_PREFIX}.{{1,{TAG_NAME_MAX}}})$"}),
]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_zone)]


class BudgetBlock(Strict):
    """A limit that every owner in its scope has for itself."""

    name: Name = Field(description="stands in errors, metrics and reports; unique")
    scope: Scope = Field(
        description="whose money: `all` together, or each team, project, key, session, lineage, request, `tag:NAME`"
    )
    window: Literal["hour", "day", "week", "month", "total"] | None = Field(
        default=None, description="when it begins anew; `total` never does; not for scope `request`"
    )
    limit_usd: LimitUsd = Field(description="USD that each owner may spend in a window")
    kind: Literal["hard", "soft"] = Field(
        default="hard", description="`hard` is never exceeded; `soft` counts and warns"
    )
    when_exhausted: Literal["reject", "downgrade", "queue"] = Field(
        default="reject",
        description="`downgrade` asks the best model that still fits, `queue` waits, also for the next window",
    )
    queue_s: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = Field(
        default=HELD_QUEUE_S, description="how long a request waits for money that calls under way hold"
    )
    zone: Zone = Field(default="UTC", description="IANA name of the time zone that windows begin in")
    owners: Annotated[list[Text], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None, description="only these owners have it; every owner, if not given"
    )
    limits_usd: Annotated[dict[Text, LimitUsd], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None, description="owner: a limit of its own instead of `limit_usd`"
    )


class BudgetStoreBlock(Strict):
    """What happens while the store of budgets does not answer, or has lost its memory and is not rebuilt yet."""

    when_unavailable: Literal["reject", "allow"] = Field(
        default="reject", description="`allow` lets requests pass up to `allow_usd` in all"
    )
    lease_share: Annotated[float, Field(ge=0, le=0.2)] = Field(
        default=0.0,
        description="share of what is left that a gateway may hold ahead, so that most calls ask no store",
    )
    allow_usd: LimitUsd | None = Field(
        default=None, description="what each gateway may spend without the store, until it is back"
    )


class Noting(Protocol):
    """The file that is being checked, and where findings go."""

    places: Places

    def add(self, path: Path, message: str) -> None:
        """Note a finding."""
        ...


def budgets_of(noting: Noting, blocks: Sequence[BudgetBlock]) -> tuple[Budget, ...]:
    """The budgets, each checked for itself and against those that it lies within."""
    budgets = tuple(_budget_of(noting, index, block, blocks[:index]) for index, block in enumerate(blocks))
    for index, budget in enumerate(budgets):
        for other, parent in enumerate(budgets):
            if other != index and _is_within(budget, parent):
                _check_within(noting, index, budget, other, parent)
    return budgets


def allowance_of(noting: Noting, block: BudgetStoreBlock) -> int | None:
    """What may be spent without the store, in nano-USD; None where nothing may."""
    if block.when_unavailable == "allow" and block.allow_usd is None:
        noting.add(("budget_store", "when_unavailable"), "allow needs `allow_usd`: up to how much?")
    elif block.when_unavailable == "reject" and block.allow_usd is not None:
        noting.add(("budget_store", "allow_usd"), "means nothing beside `when_unavailable: reject`")
    return None if block.allow_usd is None else parse_usd(block.allow_usd)


def _budget_of(noting: Noting, index: int, block: BudgetBlock, before: Sequence[BudgetBlock]) -> Budget:
    here: Path = ("budgets", index)
    if any(each.name == block.name for each in before):
        noting.add((*here, "name"), f"`{block.name}` names two budgets")
    is_tag = block.scope.startswith(TAG_PREFIX)
    if block.scope == "request":
        _check_request(noting, here, block)
    elif block.window is None:
        noting.add((*here, "window"), "is missing: hour, day, week, month or total")
    if block.scope in ("all", "request"):
        for name in ("owners", "limits_usd"):
            if getattr(block, name) is not None:
                noting.add((*here, name), f"means nothing with scope {block.scope}: it has no owners")
    if block.kind == "soft" and "when_exhausted" in block.model_fields_set:
        noting.add((*here, "when_exhausted"), "means nothing for a soft budget: it never refuses")
    for owner in block.limits_usd or ():
        if block.owners is not None and owner not in block.owners:
            noting.add((*here, "limits_usd", owner), f"is not among `owners`{meant(owner, block.owners)}")
    return Budget(
        name=block.name,
        scope="tag" if is_tag else _scope_word(block.scope),
        window=block.window or "total",
        limit_nanousd=parse_usd(block.limit_usd),
        kind=block.kind,
        when_exhausted=block.when_exhausted,
        tag=block.scope.removeprefix(TAG_PREFIX) if is_tag else None,
        zone=block.zone,
        queue_s=block.queue_s,
        owners=frozenset(block.owners or ()),
        limits_nanousd=MappingProxyType({owner: parse_usd(usd) for owner, usd in (block.limits_usd or {}).items()}),
    )


def _scope_word(text: str) -> BudgetScope:
    return next(scope for scope in SCOPES if scope == text)


def _check_request(noting: Noting, here: Path, block: BudgetBlock) -> None:
    if block.window is not None:
        noting.add((*here, "window"), "means nothing with scope request: the limit is each request's own")
    if block.when_exhausted == "queue":
        noting.add((*here, "when_exhausted"), "queue means nothing with scope request: no waiting makes it cheaper")


def _is_within(budget: Budget, parent: Budget) -> bool:
    """Whether all that the budget counts in a window is counted in one window of the hard parent too."""
    if not parent.is_hard or parent.owners or parent.scope not in WIDTH:
        return False
    if budget.scope == "request":
        return True
    is_narrower = parent.scope == "all" if budget.scope not in WIDTH else WIDTH[parent.scope] < WIDTH[budget.scope]
    if budget.window == parent.window:
        return is_narrower and budget.zone == parent.zone
    lies_in = parent.window in LONGER[budget.window] and (budget.zone == parent.zone or parent.window == "total")
    return lies_in and (is_narrower or budget.scope == parent.scope)


def _check_within(noting: Noting, index: int, budget: Budget, other: int, parent: Budget) -> None:
    """A limit above that of the budget around it could never be reached: a slip."""
    highest = max((parent.limit_nanousd, *parent.limits_nanousd.values()))
    own: Iterable[tuple[Path, int]] = ((("limits_usd", owner), each) for owner, each in budget.limits_nanousd.items())
    for at, nanousd in ((("limit_usd",), budget.limit_nanousd), *own):
        if nanousd > highest:
            place = f"budgets[{other}].limit_usd in line {noting.places.find(('budgets', other, 'limit_usd'), '').line}"
            noting.add(
                ("budgets", index, *at),
                f"is above {usd_text(highest)}, the limit of `{parent.name}` that it lies within ({place})",
            )


def usd_text(nanousd: int) -> str:
    """The amount as a person writes it: `50`, `0.05`."""
    return usd_of(nanousd).rstrip("0").rstrip(".")
