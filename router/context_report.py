"""What inputs are made of and what that costs: the context bills of many requests, added up exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from router.context import PARTS
from router.context_bill import CONTEXT_TOKENS_MIN
from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.ledger import ContextUse, RequestTotals

GROUPS_MAX = 200
BREAKS_MAX = 50
# Callers choose tags' values, and prompts where they break: behind so many, all others share one.
HELD_MAX = 20_000
MONTH_MS = 30 * 86_400_000
TAG_PREFIX = "tag:"
METHOD = (
    f"requests of {CONTEXT_TOKENS_MIN:,} input tokens or more that a vendor answered; coverage says how much that is. "
    "tokens are the vendor's, shared out among parts as the text is; parts share what the input cost, cache reads and "
    "writes included, by their tokens, and sum to it exactly. prefix: begins an earlier request of the same key too, "
    "so that a prompt cache can serve it; again: sent before, but behind something that differs; twice: stands in the "
    "same request already; both priced as uncached input. cache breaks: a time or a number is all that moved, and what "
    "follows it would have been read from a cache; priced at the difference between input and cache read. each gateway "
    "remembers what itself was sent, for a bounded number of fingerprints, so what was sent before is a lower bound."
)


class _Break(NamedTuple):
    """One place at which a key's prompts break the cache."""

    team: str | None
    key_id: str | None
    model: str
    part: str
    why: str
    at_char: int


@dataclass(slots=True)
class ContextSums:
    """The bills of one group, added up: integers in tokens and nano-USD."""

    counts: Counter[str] = field(default_factory=Counter)
    part_tokens: Counter[str] = field(default_factory=Counter)
    part_nanousd: Counter[str] = field(default_factory=Counter)

    def add(self, use: ContextUse) -> None:
        """Add one request's."""
        cost, tokens = use.input_cost_nanousd, max(use.input_tokens, 1)
        shares = {name: cost * size // tokens for name, size in use.parts.items() if name != "other"}
        shares["other"] = cost - sum(shares.values())
        self.part_tokens.update(use.parts)
        self.part_nanousd.update(shares)
        self.counts.update(
            requests=1,
            input_tokens=use.input_tokens,
            input_nanousd=cost,
            prefix_tokens=use.prefix_tokens,
            again_tokens=use.again_tokens,
            twice_tokens=use.twice_tokens,
            again_nanousd=use.again_nanousd,
            twice_nanousd=use.twice_nanousd,
            broken_requests=use.break_part is not None,
            lost_tokens=use.lost_tokens,
            lost_nanousd=use.lost_nanousd,
        )

    def merge(self, other: ContextSums) -> None:
        """Add another group's."""
        self.counts.update(other.counts)
        self.part_tokens.update(other.part_tokens)
        self.part_nanousd.update(other.part_nanousd)

    def fields(self, span_ms: int) -> dict[str, object]:
        """What a row of the report says."""
        found, cost = self.counts, self.counts["input_nanousd"]
        return {
            "requests": found["requests"],
            "input_tokens": found["input_tokens"],
            "input_cost_usd": usd_of(cost),
            "parts": {
                part: {
                    "tokens": self.part_tokens[part],
                    "cost_usd": usd_of(self.part_nanousd[part]),
                    "share": round(self.part_nanousd[part] / cost, 6) if cost else None,
                }
                for part in PARTS
            },
            "sent_before": {
                "prefix": {"tokens": found["prefix_tokens"]},
                "again": {"tokens": found["again_tokens"], "cost_usd": usd_of(found["again_nanousd"])},
                "twice": {"tokens": found["twice_tokens"], "cost_usd": usd_of(found["twice_nanousd"])},
            },
            "cache_breaks": {
                "requests": found["broken_requests"],
                **lost_fields(found["lost_tokens"], found["lost_nanousd"], span_ms),
            },
        }


def lost_fields(tokens: int, nanousd: int, span_ms: int) -> dict[str, object]:
    """What a cache could not serve, and what that comes to in thirty days at this rate."""
    return {
        "tokens": tokens,
        "lost_usd": usd_of(nanousd),
        "lost_usd_per_30_days": usd_of(nanousd * MONTH_MS // max(span_ms, 1)),
    }


@dataclass(slots=True)
class ContextTally:
    """Bills as they are read, by group and by the place where prompts break the cache.

    ``is_cut`` where there were too many, and the oldest were not read.
    """

    names: tuple[str, ...]
    whole: ContextSums = field(default_factory=ContextSums)
    groups: dict[tuple[str | None, ...], ContextSums] = field(default_factory=dict)
    is_cut: bool = False
    others: ContextSums = field(default_factory=ContextSums)
    breaks: dict[_Break, Counter[str]] = field(default_factory=dict)

    def add(self, use: ContextUse) -> None:
        """Add one request's."""
        self.whole.add(use)
        if self.names:
            group = tuple(_value_of(use, name) for name in self.names)
            is_held = group in self.groups or len(self.groups) < HELD_MAX
            (self.groups.setdefault(group, ContextSums()) if is_held else self.others).add(use)
        if use.break_part is not None and use.break_why is not None and use.break_at_char is not None:
            place = _Break(use.team, use.key_id, use.model, use.break_part, use.break_why, use.break_at_char)
            if place in self.breaks or len(self.breaks) < HELD_MAX:
                counts = self.breaks.setdefault(place, Counter())
                counts.update(requests=1, tokens=use.lost_tokens, nanousd=use.lost_nanousd)


def context_report(
    tally: ContextTally, totals: Sequence[RequestTotals], *, from_text: str, to_text: str, span_ms: int
) -> dict[str, object]:
    """The report as plain JSON values, once for a tally; ``totals`` are all requests of that time, for its coverage."""
    ordered = sorted(tally.groups.items(), key=lambda each: (-each[1].counts["input_nanousd"], _order(each[0])))
    rest = tally.others
    for _, sums in ordered[GROUPS_MAX:]:
        rest.merge(sums)
    whole = tally.whole
    return {
        "from": from_text,
        "to": to_text,
        "group_by": list(tally.names),
        "currency": "USD",
        "totals": whole.fields(span_ms),
        "groups": [
            {"group": dict(zip(tally.names, values, strict=True)), **sums.fields(span_ms)}
            for values, sums in ordered[:GROUPS_MAX]
        ],
        "rest": {"groups": len(ordered) - GROUPS_MAX, **rest.fields(span_ms)} if len(ordered) > GROUPS_MAX else None,
        "cache_breaks": list(_breaks_of(tally.breaks, span_ms)),
        "coverage": {
            "requests": sum(each.requests for each in totals),
            "explained": whole.counts["requests"],
            "input_tokens": sum(each.input_tokens for each in totals),
            "explained_input_tokens": whole.counts["input_tokens"],
            "is_cut": tally.is_cut,
        },
        "method": METHOD,
    }


def _breaks_of(breaks: Mapping[_Break, Counter[str]], span_ms: int) -> Iterable[dict[str, object]]:
    ordered = sorted(breaks.items(), key=lambda each: (-each[1]["nanousd"], _order(each[0])))
    for place, counts in ordered[:BREAKS_MAX]:
        yield {
            "team": place.team,
            "key": place.key_id,
            "model": place.model,
            "part": place.part,
            "why": place.why,
            "at_char": place.at_char,
            "requests": counts["requests"],
            **lost_fields(counts["tokens"], counts["nanousd"], span_ms),
        }


def _value_of(use: ContextUse, name: str) -> str | None:
    if name.startswith(TAG_PREFIX):
        return use.tags.get(name.removeprefix(TAG_PREFIX))
    return {"team": use.team, "project": use.project, "key": use.key_id, "model": use.model}[name]


def _order(values: Iterable[object]) -> list[tuple[bool, str]]:
    return [(value is None, str(value)) for value in values]
